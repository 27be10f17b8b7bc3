"""Models of pydantic, by their own rules: validators, aliases and schema count.

pydantic is never imported here: a model brings it along.

May go in: asking pydantic. May not: rules of our own about models.

Pure: no socket, no clock.
"""

from __future__ import annotations

from typing import Any

from alephscript.contracts.forms.form import (
    MOST_PROBLEMS,
    Definitions,
    Form,
    Mismatch,
    Schema,
    with_article,
)

__all__ = ["Model", "is_model"]


def is_model(cls: Any) -> bool:
    """Return whether a class is a model, or a dataclass, of pydantic."""
    return isinstance(cls, type) and hasattr(cls, "__pydantic_core_schema__")


class Model(Form):
    """A model of pydantic.

    Args:
        cls: The class.
    """

    has_name = True

    def __init__(self, cls: Any) -> None:
        import pydantic

        self.cls = cls
        self._adapter = pydantic.TypeAdapter(cls)
        schema = self._json_schema("validation")
        self.kinds = _kinds(schema, schema.get("$defs", {}))
        self.is_hashable = cls.__hash__ is not None

    def _json_schema(self, mode: Any) -> Schema:
        schema: Schema = self._adapter.json_schema(by_alias=True, mode=mode)
        return schema

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        cls = self.cls
        whole = self._json_schema("validation")
        parts = whole.pop("$defs", {})

        def move(schema: Any) -> Any:
            if isinstance(schema, list):
                return [move(each) for each in schema]
            if not isinstance(schema, dict):
                return schema
            name = schema.get("$ref", "")
            moved = {key: move(value) for key, value in schema.items() if key != "$ref"}
            if isinstance(name, str) and name.startswith("#/$defs/"):
                name = name.removeprefix("#/$defs/")
                key = (cls, name)
                return {
                    **moved,
                    **definitions.refer(key, name, cls.__module__, lambda: move(parts[name])),
                }
            return schema if name else moved

        if "$ref" in whole:  # a model that holds itself
            reference: Schema = move(whole)
            return reference
        return definitions.refer(cls, cls.__name__, cls.__module__, lambda: move(whole))

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        import pydantic_core

        try:
            # As JSON: a date is a string there, which pydantic's strict mode knows.
            return self._adapter.validate_json(pydantic_core.to_json(value))
        except pydantic_core.ValidationError as exc:
            raise Mismatch(*_problems(exc)[:MOST_PROBLEMS]) from None
        except Exception as exc:
            raise Mismatch.of(exc) from exc

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        if not isinstance(value, self.cls):
            raise Mismatch.here(
                f"expected {with_article(self.cls.__name__)}, got {type(value).__qualname__}"
            )
        adapter = self._adapter
        if type(value) is not self.cls:
            import pydantic

            adapter = pydantic.TypeAdapter(type(value))
        try:
            return adapter.dump_python(value, mode="json", by_alias=True, warnings="error")
        except Exception as exc:
            raise Mismatch.of(exc) from exc


def _problems(exc: Any) -> list[tuple[tuple[str | int, ...], str]]:
    problems = []
    for error in exc.errors(include_url=False, include_context=False, include_input=False):
        message = error["msg"]
        text = "missing" if error["type"] == "missing" else message[:1].lower() + message[1:]
        problems.append((tuple(error["loc"]), text))
    return problems


def _kinds(schema: Schema, definitions: Schema) -> frozenset[str]:
    """Return the kinds of JSON values that a model's schema takes."""
    for _ in range(len(definitions) + 1):
        if "$ref" not in schema:
            break
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    kind = schema.get("type")
    if kind == "integer":
        kind = "number"
    return frozenset({kind}) if isinstance(kind, str) else Form.kinds

"""Signatures of decorated methods and types of a class, inspected once, while the class is made.

May go in: reading signatures and annotations, and refusing those that can never work. May not:
what a decorator makes of them (`declaring`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from alephscript import contracts
from alephscript.errors import DeclarationError

__all__ = ["DeclaredTypes", "check_events", "checked_type", "find_reply", "inspect_method"]


def checked_type(declared: Any, function: Callable[..., Any]) -> Any:
    """Return the type to read or to write, None for any JSON as it comes.

    Raises:
        DeclarationError: The type, or that of a field in it, has no JSON form.
    """
    if declared in (None, Any) or isinstance(declared, TypeVar):
        return None
    try:
        contracts.prepare(declared)
    except DeclarationError as exc:
        raise DeclarationError(f"{function.__qualname__}: {exc}") from exc
    return declared


def check_events(cls: type) -> None:
    """Check the types of the events that a class says.

    Raises:
        DeclarationError: One of them has no JSON form.
    """
    for event, declared in vars(cls).get("says", {}).items():
        try:
            contracts.prepare(declared)
        except DeclarationError as exc:
            raise DeclarationError(f"{cls.__qualname__}.says[{event!r}]: {exc}") from exc


@attrs.frozen
class DeclaredTypes:
    """The options of a capability that are about its types; see `declaring.capability`."""

    strict: bool
    request_schema: Mapping[str, Any] | None
    reply_schema: Mapping[str, Any] | None

    def payload(self, annotated: Any, function: Callable[..., Any]) -> Any:
        """Return the type of a payload."""
        declared = _by_hand(self.request_schema, annotated, function, "request_schema")
        declared = checked_type(declared, function)
        if not self.strict:
            return declared
        if declared is None:
            raise DeclarationError(
                f"{function.__qualname__}: strict=True needs a payload whose keys are known: "
                "annotate it with a contract"
            )
        return checked_type(contracts.Strict(declared), function)

    def reply(self, annotated: Any, function: Callable[..., Any]) -> Any:
        """Return the type of a reply."""
        declared = _by_hand(self.reply_schema, annotated, function, "reply_schema")
        return checked_type(declared, function)


def _by_hand(
    schema: Mapping[str, Any] | None, annotated: Any, function: Callable[..., Any], option: str
) -> Any:
    if schema is None:
        return annotated
    if (typing.get_origin(annotated) or annotated) not in (None, Any, object, dict, list, Mapping):
        raise DeclarationError(
            f"{function.__qualname__}: {option} is for plain JSON; its annotation says "
            f"{annotated!r}, which has a schema of its own"
        )
    return contracts.JSONSchema(schema)


def find_reply(reply: Any, payload: Any, function: Callable[..., Any]) -> Any:
    """Return the type of a reply: the annotated one, or that which the typed request promises.

    Raises:
        DeclarationError: The request promises nothing, or the two are classes, and the method
            returns another one than is promised.
    """
    if not (isinstance(payload, type) and issubclass(payload, contracts.RequestFor)):
        return reply
    promised: Any = contracts.reply_type(payload)
    if reply is None:
        return promised
    if isinstance(promised, type) and isinstance(reply, type) and not issubclass(reply, promised):
        raise DeclarationError(
            f"{function.__qualname__} returns {reply.__qualname__}, but {payload.__qualname__} "
            f"promises {promised.__qualname__}: change one of the two"
        )
    return reply


def inspect_method(function: Callable[..., Any]) -> tuple[Any, bool, Any]:
    """Find the one argument of a method, after ``self``.

    Returns:
        Its annotation, whether there is such an argument, and the annotation of the result.

    Raises:
        DeclarationError: The function is no method, a plain generator, or takes more arguments.
    """
    if isinstance(function, staticmethod | classmethod) or not inspect.isfunction(function):
        raise DeclarationError(f"{function!r} is no method; decorate a def or async def")
    if any(map(inspect.isgeneratorfunction, (function, inspect.unwrap(function)))):
        raise DeclarationError(
            f"{function.__qualname__} is a generator; return one result, or make it async"
        )
    every = list(inspect.signature(function).parameters.values())
    if every and every[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        own, *parameters = every
        if own.kind not in _BY_PLACE:
            raise DeclarationError(f"{function.__qualname__} takes no self")
    elif every:
        parameters = every
    else:
        raise DeclarationError(f"{function.__qualname__} takes no self")
    argument = next((p for p in parameters if p.kind in _BY_PLACE), None)
    if argument is None and any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise DeclarationError(
            f"{function.__qualname__} takes *{parameters[0].name}, which does not tell whether it "
            "takes a payload: name that; or give the decorator around it functools.wraps"
        )
    required = [p for p in parameters if p.default is p.empty and p.kind not in _VARIADIC]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise DeclarationError(f"{function.__qualname__} takes more than self and one argument")
    hints = _hints(function)
    annotation = hints.get(argument.name) if argument else None
    return annotation, argument is not None, hints.get("return")


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as exc:
        raise DeclarationError(
            f"{function.__qualname__}: {exc.name} is not known where the class is defined; "
            "import it outside `if TYPE_CHECKING`, and define contracts at module level"
        ) from exc

"""Signatures with the values of defaults, not with names of the inside or attrs' words for them."""  # noqa: INP001

from __future__ import annotations

import inspect
from typing import Any

import attrs
from sphinx.ext.autodoc.preserve_defaults import DefaultValue

import alephscript

__all__ = ["setup", "with_defaults", "with_values"]


def with_values(_app: Any, documented: Any, *_: Any) -> None:
    """See ``autodoc-before-process-signature``; what autodoc has put there is the source's text.

    Args:
        documented: A function or a method.
    """
    function = getattr(documented, "__func__", documented)
    signature = getattr(function, "__signature__", None)
    code = getattr(function, "__code__", None)
    if signature is None or code is None:
        return
    given = function.__defaults__ or ()
    named = code.co_varnames[code.co_argcount - len(given) : code.co_argcount]
    values = dict(zip(named, given, strict=True)) | (function.__kwdefaults__ or {})
    function.__signature__ = signature.replace(
        parameters=[
            each.replace(default=DefaultValue(_shown(each.default.name, values[each.name])))
            if isinstance(each.default, DefaultValue) and each.name in values
            else each
            for each in signature.parameters.values()
        ]
    )


def _shown(source: str, value: Any) -> str:
    """Write a default for a reader: as in the source where that tells the value."""
    if not source.replace(".", "").isidentifier() or source in alephscript.__all__:
        return source
    if isinstance(value, str):
        return str.__repr__(value)  # also of a text that only marks that none was given
    if inspect.isfunction(value):
        options = ", ".join(
            f"{name}={each!r}" for name, each in (value.__kwdefaults__ or {}).items()
        )
        return f"{value.__name__}({options})"  # Sphinx reads a signature as Python
    if attrs.has(type(value)) and value == type(value)():
        return f"{type(value).__name__}()"
    return source if isinstance(value, type) else repr(value)


def with_defaults(  # noqa: D417 - the others are Sphinx's
    _app: Any, what: str, _name: str, documented: Any, _options: Any, signature: str | None, *_: Any
) -> tuple[str, str] | None:
    """See ``autodoc-process-signature``.

    Args:
        documented: The class.
        signature: Where attrs has generated it, a default is ``attr_dict['name'].default``.
    """
    if what != "class" or not signature or not attrs.has(documented):
        return None
    for field in attrs.fields(documented):
        generated = f"attr_dict['{field.name}'].default"
        signature = signature.replace(generated, repr(field.default))
    return signature, ""


def setup(app: Any) -> dict[str, Any]:
    """See Sphinx."""
    app.connect("autodoc-before-process-signature", with_values, priority=900)
    app.connect("autodoc-process-signature", with_defaults)
    return {"parallel_read_safe": True}

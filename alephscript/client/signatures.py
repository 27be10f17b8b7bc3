"""Signatures of decorated methods, inspected once, while their class is made.

May go in: reading signatures and annotations, and refusing those that can never work. May not:
what a decorator makes of them (`declaring`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from alephscript import contracts
from alephscript.errors import DeclarationError

__all__ = ["checked_type", "inspect_method"]


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

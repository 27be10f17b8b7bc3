"""Attributes of a class, looked at through their decorators: which method is inside, what may be.

May go in: finding a decorated method in what wraps it, and refusing names that a base class needs.
May not: what a decorator of ours says (`declaring`), signatures (`signatures`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from alephscript.errors import DeclarationError

__all__ = ["OURS", "attach", "check_instance", "check_names", "find_records", "gives_way"]

OURS = "_alephscript_"
"""Beginning of the names that the client keeps for itself in its instances."""

_RECORDS = "__alephscript_records__"
_CODE = "__alephscript_code__"
"""Attributes of a decorated function: its records, and its own code. `functools.wraps` copies both,
so that a wrapper is known by a code that is not its own."""

_GIVES_WAY = "__alephscript_gives_way__"

_DEEPEST = 4
"""Decorators over one of ours that are looked through."""

_NO_METHODS = (staticmethod, classmethod, property, functools.cached_property, functools.partial)
"""What is no method, a partial only since Python 3.14: a class means the same in each version."""


_CACHE = type(functools.cache(len))
_MAKERS: tuple[Any, ...] = (contextlib.contextmanager, contextlib.asynccontextmanager)
_CONTEXTS = {make(len).__code__ for make in _MAKERS}


def gives_way(method: Callable[[Any], None]) -> Callable[..., Any]:
    """Let a decorated method of a subclass take this one's name, which only programs call.

    Whatever the method of the subclass takes and gives, type checkers find it fit.
    """
    setattr(method, _GIVES_WAY, True)
    return method


def attach(function: Callable[..., Any], record: Any) -> None:
    """Attach a record to a function.

    Raises:
        DeclarationError: The function makes a context, which is no answer.
    """
    _check_answers(function.__qualname__, function)
    setattr(function, _RECORDS, (*getattr(function, _RECORDS, ()), record))
    setattr(function, _CODE, getattr(function, "__code__", None))


def find_records(owner: type, attribute: str, value: Any) -> tuple[tuple[Any, ...], bool]:
    """Find what was attached to an attribute, or to the method of the same name inside it.

    Returns:
        The records, and whether something is wrapped around the function that has them.

    Raises:
        DeclarationError: The method is inside what is no method.
    """
    inner = _find(owner, attribute, value, _DEEPEST)
    if inner is None:
        return (), False
    if isinstance(value, _NO_METHODS) or not hasattr(type(value), "__get__"):
        raise DeclarationError(
            f"{owner.__qualname__}.{attribute}: a {type(value).__name__} around a decorated "
            "method is no method; decorate a def or async def"
        )
    _check_answers(f"{owner.__qualname__}.{attribute}", value)
    records = getattr(inner, _RECORDS)
    is_wrapped = inner is not value or getattr(value, _CODE, None) is not _code_of(value)
    return records, is_wrapped


def _check_answers(name: str, value: Any) -> None:
    """Refuse decorators of the standard library whose results nobody can be answered with.

    Raises:
        DeclarationError: The value is what such a decorator gives.
    """
    if isinstance(value, _CACHE):  # few payloads have a hash, and a coroutine is awaited once
        raise DeclarationError(f"{name}: a cache around a decorated method; cache inside of it")
    if _code_of(value) in _CONTEXTS:
        raise DeclarationError(f"{name} makes a context; decorate a def or async def that answers")


def check_instance(instance: object, base: type) -> None:
    """Refuse attributes of an instance that hide what its base class needs.

    Raises:
        DeclarationError: An attribute was set in the place of a method or a property.
    """
    for name, value in vars(instance).items():
        needed = inspect.getattr_static(base, name, None)
        if needed is not None and (why := _misfit(name, needed, value)):
            raise DeclarationError(
                f"{type(instance).__qualname__} sets self.{name}, but {base.__name__} has a {name} "
                f"of its own, and {why}; choose another name"
            )


def check_names(cls: type, base: type) -> None:
    """Refuse what takes the name of something that the base class needs.

    Raises:
        DeclarationError: An attribute hides one of the base class, or would be hidden by it.
    """
    needed = {name: value for name, value in inspect.getmembers_static(base) if name in _own(base)}
    for owner in cls.__mro__:
        if owner in base.__mro__:
            continue
        for name, value in vars(owner).items():
            if name.startswith(OURS):
                raise DeclarationError(f"{owner.__qualname__}.{name}: {OURS}… are the client's own")
            is_effective = inspect.getattr_static(cls, name, None) is value
            is_decorated = bool(find_records(owner, name, value)[0])
            why = ""
            if is_decorated and hasattr(needed.get(name), _GIVES_WAY):
                continue
            if (name in needed or name in _INSTANCE) and is_decorated:
                why = "a decorated method cannot take its place"
            elif name in _INSTANCE:
                why = "" if value is None or isinstance(value, str) else "it is a text"
            elif is_effective and name in needed:
                why = _misfit(name, needed[name], value)
            if why:
                raise DeclarationError(
                    f"{owner.__qualname__}.{name}: {base.__name__} has a {name} of its own, and "
                    f"{why}; choose another name"
                )


_INSTANCE = ("usuario", "sesion")


def _own(base: type) -> set[str]:
    """Return the names that a base class has beside `object`, but for what classes declare."""
    return set(dir(base)) - set(dir(object)) - {"__annotations__", "__dict__"}


def _misfit(name: str, needed: Any, value: Any) -> str:
    """Say why a value cannot stand for what a base class has; empty if it can."""
    if inspect.isfunction(needed):
        fits = callable(value) or isinstance(value, staticmethod | classmethod)
        return "" if fits else "it is a method"
    if isinstance(needed, property):
        fits = hasattr(type(value), "__get__") and not inspect.isfunction(value)
        return "" if fits else "it is a property"
    return (
        "" if name != "declarations" or type(value) is type(needed) else "it is made of the class"
    )


def _code_of(value: Any) -> Any:
    return getattr(value, "__code__", None)


def _find(owner: type, attribute: str, value: Any, levels: int) -> Any:
    """Return the value itself, or what is inside it, that has records; None without."""
    if isinstance(getattr(value, _RECORDS, None), tuple) and not inspect.isclass(value):
        return value
    if levels == 0 or inspect.isclass(value) or inspect.ismodule(value):
        return None
    for each in _inside(value):
        found = _find(owner, attribute, each, levels - 1)
        # Another method may be inside, too, one that this one calls.
        name = getattr(found, "__qualname__", "")
        if found is not None and name == f"{owner.__qualname__}.{attribute}":
            return found
    return None


def _inside(value: Any) -> Iterator[Any]:
    """Give what a decorator keeps of the function it was given."""
    for name in ("__wrapped__", "__func__", "func", "fget"):
        each = inspect.getattr_static(value, name, None)
        if callable(each):
            yield each
        elif each is not None:  # a slot
            yield getattr(value, name, None)
    for cell in getattr(value, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is empty yet
            continue
    fields = getattr(value, "__dict__", None)
    if isinstance(fields, Mapping):
        yield from [each for each in fields.values() if callable(each)]

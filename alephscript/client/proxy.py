"""A master's methods, called from afar: ``bot = client.proxy(PersefonBot)``.

May go in: finding out which capability a method asks. May not: asking it (`asking`).
"""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from alephscript.client import declaring
from alephscript.client.asking import Asker
from alephscript.client.signatures import checked_type
from alephscript.errors import DeclarationError

__all__ = ["Proxy", "methods_of"]

_STREAMS = (
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)
"""Return types of a method that answers in parts, as `typing.get_origin` gives them."""


@attrs.frozen
class Method:
    """A method that asks.

    Attributes:
        capability: Name of the capability that it asks.
        reply: The type of the answer, or of its parts; None for JSON as it comes.
        streams: Whether the answer comes in parts.
    """

    capability: str
    reply: Any
    streams: bool


class Proxy:
    """Asks the capability of the same name for each method that is called.

    Args:
        asker: The client that asks.
        name: Name of the class whose methods they are, for messages.
        methods: By name.
        options: Passed to each request.
    """

    def __init__(
        self,
        asker: Asker,
        name: str,
        methods: Mapping[str, Method],
        options: Mapping[str, Any],
    ) -> None:
        self._asker = asker
        self._name = name
        self._methods = methods
        self._options = options

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = self._methods.get(name)
        if method is None:
            raise AttributeError(f"{self._name} offers no capability by a method {name!r}")

        def ask(payload: Any = None) -> Any:
            asking: Any = self._asker.stream if method.streams else self._asker.request
            return asking(method.capability, payload, reply=method.reply, **self._options)

        ask.__name__ = name
        return ask

    def __dir__(self) -> list[str]:
        return list(self._methods)


def methods_of(cls: type) -> dict[str, Method]:
    """Find the methods of a client class, or of a Protocol that names some of them.

    A Protocol's method asks the capability that its argument, a `alephscript.RequestFor`, or its
    `@capability` names.

    Raises:
        DeclarationError: The class has no such methods, or one does not say what it asks.
    """
    declared = declaring.collect(cls).capabilities.values()
    methods = {each.attribute: Method(each.name, each.reply, each.streams) for each in declared}
    if getattr(cls, "_is_protocol", False):
        for name, function in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("_") and name not in methods:
                methods[name] = _method(function)
    if not methods:
        raise DeclarationError(f"{cls.__qualname__} offers nothing; give a class with @capability")
    return methods


def _method(function: Callable[..., Any]) -> Method:
    hints = typing.get_type_hints(function, include_extras=True)
    reply = hints.pop("return", None)
    payload = next(iter(hints.values()), None)
    capability = getattr(payload, "capability", None)
    if not isinstance(capability, str):
        raise DeclarationError(
            f"{function.__qualname__}: take a RequestFor, or write @capability with a name"
        )
    streams = typing.get_origin(reply) in _STREAMS
    if streams:
        reply = typing.get_args(reply)[0]
    return Method(capability, checked_type(reply, function), streams)

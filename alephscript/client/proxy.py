"""A master's methods, called from afar: ``bot = client.proxy(PersefonBot)``."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from alephscript import contracts
from alephscript.client import declaring
from alephscript.errors import DeclarationError

if TYPE_CHECKING:
    from alephscript.client.client import AlephScriptClient

__all__ = ["Proxy", "methods_of"]


@attrs.frozen
class Method:
    """A method that asks.

    Attributes:
        capability: What it asks.
        reply: The contract of the answer, or of its parts; None for JSON as it comes.
        streams: Whether it answers in parts.
    """

    capability: str
    reply: Any
    streams: bool


class Proxy:
    """Asks the capability of the same name for each method that is called.

    Args:
        client: Who asks.
        name: Whose methods they are, for messages.
        methods: By name.
        options: Passed to each request.
    """

    def __init__(
        self,
        client: AlephScriptClient,
        name: str,
        methods: Mapping[str, Method],
        options: Mapping[str, Any],
    ) -> None:
        self._client = client
        self._name = name
        self._methods = methods
        self._options = options

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = self._methods.get(name)
        if method is None:
            raise AttributeError(f"{self._name} offers no capability by a method {name!r}")

        def ask(payload: Any = None) -> Any:
            asking: Any = self._client.stream if method.streams else self._client.request
            return asking(method.capability, payload, reply=method.reply, **self._options)

        ask.__name__ = name
        return ask

    def __dir__(self) -> list[str]:
        return list(self._methods)


def methods_of(cls: type) -> dict[str, Method]:
    """The methods of a client class, or of a Protocol that names some of them.

    A Protocol's method asks what its argument, a `alephscript.RequestFor`, or its `@capability`
    says.

    Raises:
        DeclarationError: There are none, or one does not say what it asks.
    """
    declared = declaring.collect(cls).capabilities.values()
    found = {each.attribute: Method(each.name, each.reply, each.streams) for each in declared}
    if getattr(cls, "_is_protocol", False):
        for name, function in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("_") and name not in found:
                found[name] = _method(function)
    if not found:
        raise DeclarationError(f"{cls.__qualname__} offers nothing; give a class with @capability")
    return found


def _method(function: Callable[..., Any]) -> Method:
    hints = typing.get_type_hints(function)
    reply = hints.pop("return", None)
    payload = next(iter(hints.values()), None)
    capability = getattr(payload, "capability", None)
    if not isinstance(capability, str):
        raise DeclarationError(
            f"{function.__qualname__}: take a RequestFor, or write @capability with a name"
        )
    streams = typing.get_origin(reply) is not None and "Async" in str(typing.get_origin(reply))
    if streams:
        reply = typing.get_args(reply)[0]
    is_contract = contracts.is_contract(typing.get_origin(reply) or reply)
    return Method(capability, reply if is_contract else None, streams)

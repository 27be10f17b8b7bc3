"""Typed requests: a contract that names the capability it asks, and the type of the answer.

May go in: `RequestFor`. May not: asking (`alephscript.client.asking`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import typing
from typing import Any, ClassVar, Generic, TypeVar, cast

from alephscript.errors import DeclarationError

__all__ = ["RequestFor", "find_reply_type", "reply_type"]

Reply = TypeVar("Reply", covariant=True)  # noqa: PLC0105 - read as RequestFor[Reply]
T = TypeVar("T")


class RequestFor(Generic[Reply]):
    """Base of typed requests: names the capability it asks and the type of the answer.

    ::

        @attrs.frozen
        class StepFIA(RequestFor[StepResult], capability="AAIA_STEP_FIA"):
            session_id: str
            fia_index: int

        step = await client.request(StepFIA(session_id=sid, fia_index=0))  # a StepResult

    Attributes:
        capability: Name of the capability, without ``GET_``.
    """

    __slots__ = ()
    capability: ClassVar[str]

    def __init_subclass__(cls, capability: str = "") -> None:
        super().__init_subclass__()
        # attrs builds slotted classes a second time, then without class keywords.
        if capability:
            cls.capability = capability
        elif not getattr(cls, "capability", ""):
            raise DeclarationError(
                f"{cls.__qualname__} does not say what it asks: "
                f'write `class {cls.__name__}(RequestFor[…], capability="…")`'
            )


def reply_type(cls: type[RequestFor[T]]) -> type[T]:
    """Return the type of the answer that a typed request declares.

    Raises:
        DeclarationError: `RequestFor` was subclassed without its ``[Reply]``.
    """
    known: type[T] | None = _reply_types.get(cls)  # each request asks: no `cast`, a call
    if known is not None:
        return known
    reply = find_reply_type(cls)
    if reply is None:
        raise DeclarationError(
            f"{cls.__qualname__} does not say its reply: subclass RequestFor[Reply]"
        )
    _reply_types[cls] = reply
    return cast("type[T]", reply)


def find_reply_type(cls: type[RequestFor[Any]]) -> Any:
    """Return the type of the answer that a typed request declares, None if it declares none."""
    for owner in cls.__mro__:
        for base in owner.__dict__.get("__orig_bases__", ()):
            if typing.get_origin(base) is RequestFor:
                reply = typing.get_args(base)[0]
                return type(None) if reply is None else reply
    return None


_reply_types: dict[type, Any] = {}
"""By request class: found once, since walking the bases takes longer than asking."""

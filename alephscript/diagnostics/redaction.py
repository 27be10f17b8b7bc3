"""Tracebacks for the log: which exceptions were raised and where, without what they say.

An exception's text quotes what it failed on: a payload, a token, an address with a password.
"""

from __future__ import annotations

__all__ = ["redacted"]

_DEEPEST = 16
"""Links of a chain of exceptions, and levels of groups, that are followed."""


def redacted(exc: BaseException) -> Exception:
    """What to pass to a logger as ``exc_info`` instead of an exception.

    Returns:
        One of the same name, traceback, causes and members, and without any text.
    """
    made = _twin(exc, _DEEPEST)
    assert made is not None
    return made


def _twin(exc: BaseException | None, left: int) -> Exception | None:
    if exc is None or left == 0:
        return None
    members: list[Exception] = []
    if isinstance(exc, BaseExceptionGroup):
        members = [twin for each in exc.exceptions if (twin := _twin(each, left - 1))]
    made: Exception = _made(type(exc))()
    if members:
        made = ExceptionGroup("", members)
    made.__traceback__ = exc.__traceback__
    made.__cause__ = _twin(exc.__cause__, left - 1)
    if made.__cause__ is None:
        made.__context__ = _twin(exc.__context__, left - 1)
    made.__suppress_context__ = exc.__suppress_context__
    return made


def _made(like: type[BaseException]) -> type[Exception]:
    """A class that a traceback calls by the same name."""
    names = {"__module__": like.__module__, "__qualname__": like.__qualname__}
    return type(like.__name__, (Exception,), names)

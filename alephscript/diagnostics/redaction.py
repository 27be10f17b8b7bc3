"""Tracebacks for the log: which exceptions were raised and where, without their texts.

An exception's text quotes what it failed on: a payload, a token, an address with a password
(decision 0026).

May go in: what takes texts out of what is logged, which exceptions are nobody's to log. May not:
what is logged, and when.
"""

from __future__ import annotations

__all__ = ["ends_program", "redacted"]

_DEEPEST = 16
"""Links of a chain of exceptions, and levels of groups, that are followed."""


def ends_program(exc: BaseException) -> bool:
    """Return whether an exception is meant to end the program, so that no handler may keep it."""
    return isinstance(exc, KeyboardInterrupt | SystemExit)


def redacted(exc: BaseException) -> Exception:
    """Make what is passed to a logger as ``exc_info`` in place of an exception.

    Returns:
        An exception of the same name, traceback, causes and members, and without any text.
    """
    twin = _twin(exc, _DEEPEST)
    assert twin is not None
    return twin


def _twin(exc: BaseException | None, levels: int) -> Exception | None:
    """Build an exception that a traceback shows like another one, but for the text.

    The class itself cannot be used: many classes want arguments, or write their text from other
    attributes than `args`. But a traceback prints the class's name. So the twin is of a class of
    its own that has the same name, and nothing to say.
    """
    if exc is None or levels == 0:
        return None
    members: list[Exception] = []
    if isinstance(exc, BaseExceptionGroup):
        members = [each for member in exc.exceptions if (each := _twin(member, levels - 1))]
    twin: Exception = _namesake(type(exc))()
    if members:
        twin = ExceptionGroup("", members)
    twin.__traceback__ = exc.__traceback__
    twin.__cause__ = _twin(exc.__cause__, levels - 1)
    if twin.__cause__ is None:
        twin.__context__ = _twin(exc.__context__, levels - 1)
    twin.__suppress_context__ = exc.__suppress_context__
    return twin


def _namesake(like: type[BaseException]) -> type[Exception]:
    """Make a class that a traceback calls by the same name."""
    names = {"__module__": like.__module__, "__qualname__": like.__qualname__}
    return type(like.__name__, (Exception,), names)

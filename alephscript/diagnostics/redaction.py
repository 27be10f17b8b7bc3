"""Exceptions for the log: with their texts, made fit to be shown, or without any text.

An exception's text quotes what it failed on: a payload, a token, an address with a password. In its
own log an application wants to read it; a hub, whose exceptions quote what strangers send, never
logs it, and neither does a client that is told to redact (decision 0026). Whatever is logged of an
exception is text of strangers, too: no line of it may pass for a record, or be obeyed by a
terminal.

May go in: what takes texts out of what is logged or escapes them, which exceptions are nobody's to
log. May not: what is logged, and when.
"""

from __future__ import annotations

from collections.abc import Callable

from alephscript.protocol.text import has_controls, printable

__all__ = ["as_logged", "ends_program", "redacted"]

_DEEPEST = 16
"""Links of a chain of exceptions, and levels of groups, that are followed."""

_INDENT = "\n    "
"""What later lines of a text begin with, so that none can pass for a record of its own."""

_UNSPEAKABLE = "(its text cannot be made)"
"""In place of the text of an exception that raises while that is asked for."""

_Tell = Callable[[BaseException], str]


def ends_program(exc: BaseException) -> bool:
    """Return whether an exception is meant to end the program, so that no handler may keep it."""
    return isinstance(exc, KeyboardInterrupt | SystemExit)


def redacted(exc: BaseException) -> Exception:
    """Make what is passed to a logger as ``exc_info`` in place of an exception.

    Returns:
        An exception of the same name, traceback, causes and members, and without any text.
    """
    twin = _twin(exc, _DEEPEST, lambda _: "")
    assert twin is not None
    return twin


def as_logged(exc: BaseException, *, redact: bool) -> BaseException:
    """Make what a client passes to a logger as ``exc_info``.

    Args:
        exc: The exception.
        redact: Whether the log may not have its text.

    Returns:
        The exception itself, if its text and those of its causes are fit to be shown; else one of
        the same name, traceback, causes and members whose text is escaped or left out.
    """
    if redact:
        return redacted(exc)
    if _is_fit(exc, _DEEPEST):
        return exc
    twin = _twin(exc, _DEEPEST, _escaped)
    assert twin is not None
    return twin


def _is_fit(exc: BaseException | None, levels: int) -> bool:
    """Return whether a traceback of an exception may be shown as it is."""
    if exc is None:
        return True
    if levels == 0 or isinstance(exc, SyntaxError):  # which quotes the line that it failed on
        return False
    members = exc.exceptions if isinstance(exc, BaseExceptionGroup) else ()
    texts = (_text(exc), *_notes(exc))
    return (
        _UNSPEAKABLE not in texts
        and not any(map(has_controls, texts))
        and _is_fit(exc.__cause__ or exc.__context__, levels - 1)
        and all(_is_fit(each, levels - 1) for each in members)
    )


def _text(exc: BaseException) -> str:
    try:
        return exc.args[0] if isinstance(exc, BaseExceptionGroup) else str(exc)
    except BaseException as broken:
        if ends_program(broken):
            raise
        return _UNSPEAKABLE


def _notes(exc: BaseException) -> list[str]:
    try:
        notes = getattr(exc, "__notes__", ())
    except BaseException as broken:
        if ends_program(broken):
            raise
        return [_UNSPEAKABLE]
    return [each for each in notes if isinstance(each, str)] if isinstance(notes, list) else []


def _escaped(exc: BaseException) -> str:
    lines = [line for text in (_text(exc), *_notes(exc)) for line in text.splitlines()]
    return _INDENT.join(map(printable, lines))


def _twin(exc: BaseException | None, levels: int, tell: _Tell) -> Exception | None:
    """Build an exception that a traceback shows like another one, but for the text.

    The class itself cannot be used: many classes want arguments, or write their text from other
    attributes than `args`. But a traceback prints the class's name. So the twin is of a class of
    its own that has the same name, and says what `tell` gives.
    """
    if exc is None or levels == 0:
        return None
    members: list[Exception] = []
    if isinstance(exc, BaseExceptionGroup):
        members = [each for member in exc.exceptions if (each := _twin(member, levels - 1, tell))]
    text = tell(exc)
    twin: Exception = _namesake(type(exc))(*filter(None, [text]))
    if members:
        twin = ExceptionGroup(text, members)
    twin.__traceback__ = exc.__traceback__
    twin.__cause__ = _twin(exc.__cause__, levels - 1, tell)
    if twin.__cause__ is None:
        twin.__context__ = _twin(exc.__context__, levels - 1, tell)
    twin.__suppress_context__ = exc.__suppress_context__
    return twin


def _namesake(like: type[BaseException]) -> type[Exception]:
    """Make a class that a traceback calls by the same name."""
    names = {"__module__": like.__module__, "__qualname__": like.__qualname__}
    return type(like.__name__, (Exception,), names)

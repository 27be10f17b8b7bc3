"""Text of strangers: the characters that no name may have, and text made fit to be shown.

A terminal obeys control characters, a log takes a line end for the next record, and a bidi control
makes a line read as another one. Names with such characters are refused where they come in
(`events`); payloads, errors and whatever a hub of others lets through are escaped where a person
is to read them. The escapes are those of JSON, so that JSON text stays the same JSON text.

What a value is, in place of a value that may be a secret, is written here, too.

May go in: rules about characters. May not: where a text is shown. Pure: no socket, no clock.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

__all__ = ["ESCAPED", "has_controls", "printable", "write_type"]

ESCAPED = "alephscript.escaped"
"""Error handler of codecs: characters that an encoding has not are escaped as JSON does."""

_CONTROLS = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff"  # halves of a character
    "]"
)
_JOINERS = "\u200c\u200d"
"""Characters that hold a word or an emoji together, invisible and harmless."""


def has_controls(text: str) -> bool:
    """Whether a text has control characters, line ends or halves of a character."""
    # The first condition alone is decided for nearly all names, in C.
    return not text.isprintable() and _CONTROLS.search(text) is not None


def printable(text: str, most: int | None = None, *, encoding: str | None = None) -> str:
    """Escape what a terminal or a reader of lines would obey.

    Args:
        text: Any text.
        most: The characters of it that are kept, None for all.
        encoding: The encoding of the output, whose missing characters are escaped, too.

    Returns:
        One line without control characters.
    """
    text = text[:most]
    if not text.isprintable():
        text = "".join(each if _is_harmless(each) else _escape(each) for each in text)
    if encoding is not None and not text.isascii():
        text = text.encode(encoding, ESCAPED).decode(encoding)
    return text


def write_type(value: object) -> str:
    """Write what a value is, without quoting it: ``an int``, ``a list``, ``None``."""
    if value is None:
        return "None"
    name = type(value).__qualname__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _is_harmless(character: str) -> bool:
    return (
        character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
    )


def _escape(character: str) -> str:
    r"""Write a character as ``\uXXXX``; one beyond these as its two halves, as JSON wants it."""
    digits = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{digits[at : at + 4]}" for at in range(0, len(digits), 4))


def _escape_missing(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_escape, error.object[error.start : error.end])), error.end


codecs.register_error(ESCAPED, _escape_missing)

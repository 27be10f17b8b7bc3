r"""Types of the standard library that stand as strings on the wire.

A format alone is a hint that few validators check, so that each schema has a pattern beside it,
which says exactly what is taken. Patterns are in the common part of Python's and JavaScript's
syntax; ``$(?!\n)`` is there since Python's ``$`` also stands before a last line feed.

May go in: bytes, datetime, date, time, timedelta, UUID, Decimal, paths. May not: enums (`choices`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import base64
import contextlib
import decimal
import pathlib
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from alephscript.contracts.forms.form import (
    Definitions,
    Fast,
    Form,
    Mismatch,
    Schema,
    describe,
    json_type,
)

__all__ = ["TEXTS", "Base64", "Duration", "Exact", "FilePath", "Moment", "Text"]

_DATE = (
    "(?!0000)[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
_OFFSET = "Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]"


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$(?!\\n)"


class Text(Form):
    """A type that stands as a string which a pattern describes.

    Attributes:
        python: The type.
        expected: Names what is expected, for messages.
        pattern: Of the string.
        format: The schema's format, empty for none.
    """

    kinds = frozenset({"string"})
    python: type
    expected: str
    pattern: str
    format: str = ""

    def __init__(self) -> None:
        search = re.compile(self.pattern).search
        self._matches: Callable[[str], object] = search

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        schema = {"type": "string", "format": self.format, "pattern": self.pattern}
        return {key: value for key, value in schema.items() if value}

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        if type(value) is not str:
            raise Mismatch.here(f"expected {self.expected}, got {json_type(value)}")
        try:
            if self._matches(value):
                return self._parse(value)
        except (ValueError, OverflowError, ArithmeticError):  # at the edge of what the type holds
            pass
        raise Mismatch.here(f"expected {self.expected}, got {describe(value)}")

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        if not self._is_value(value):
            raise Mismatch.here(f"expected {self.expected}, got {json_type(value)}")
        try:
            text = self._format(value)
        except (ValueError, OverflowError):
            text = None
        # A value that could not be read again is refused where it is written.
        if text is None or not self._matches(text):
            raise Mismatch.here(f"expected {self.expected}, got {value!r:.80}")
        return text

    def _is_value(self, value: Any) -> bool:
        return isinstance(value, self.python)

    def _parse(self, text: str) -> Any:
        raise NotImplementedError

    def _format(self, value: Any) -> str:
        raise NotImplementedError


class Date(Text):
    """A date."""

    python = date
    expected = "an ISO 8601 date"
    pattern = _whole(_DATE)
    format = "date"

    def _is_value(self, value: Any) -> bool:
        return isinstance(value, date) and not isinstance(value, datetime)

    def _parse(self, text: str) -> date:
        return date.fromisoformat(text)

    def _format(self, value: date) -> str:
        return value.isoformat()


class Moment(Text):
    """A datetime that knows its offset; also JavaScript's ``Date.now()``, where numbers are taken.

    Args:
        takes_number: Whether milliseconds since 1970 are read, too.
    """

    python = datetime
    expected = "an ISO 8601 time with its offset"
    pattern = _whole(f"(?:{_DATE})T{_CLOCK}(?:{_OFFSET})")
    format = "date-time"

    def __init__(self, *, takes_number: bool = True) -> None:
        super().__init__()
        self._takes_number = takes_number
        if takes_number:
            self.kinds = frozenset({"string", "number"})

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        text = super().schema(definitions)
        if not self._takes_number:
            return text
        number = {
            "type": "number",
            "description": "Milliseconds since 1970-01-01T00:00:00Z.",
            "minimum": _FIRST,
            "maximum": _LAST,
        }
        return {"anyOf": [text, number]}

    def read(self, value: Any) -> datetime:
        """As `Form.read`."""
        if self._takes_number and type(value) in (int, float):
            if not _FIRST <= value <= _LAST:
                raise Mismatch.here(f"expected milliseconds since 1970, got {describe(value)}")
            return _EPOCH + timedelta(milliseconds=value)
        moment: datetime = super().read(value)
        return moment

    def _is_value(self, value: Any) -> bool:
        return isinstance(value, datetime) and value.utcoffset() is not None

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        if isinstance(value, datetime) and value.utcoffset() is None:
            raise Mismatch.here(
                "expected a datetime that knows its offset, got a naive one: give it a tzinfo"
            )
        return super().write(value)

    def _parse(self, text: str) -> datetime:
        return datetime.fromisoformat(text)

    def _format(self, value: datetime) -> str:
        # As JavaScript's toISOString() spells it, so that both sides' logs compare; finer only
        # where there is something finer.
        with contextlib.suppress(OverflowError):  # within a day of the first or the last moment
            value = value.astimezone(UTC)
        spec = "microseconds" if value.microsecond % 1000 else "milliseconds"
        return value.isoformat(timespec=spec).replace("+00:00", "Z")


_EPOCH = datetime.fromtimestamp(0, UTC)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999
"""Milliseconds of the first and of the last moment that a datetime can hold."""


class Clock(Text):
    """A time of day, with an offset or without."""

    python = time
    expected = "an ISO 8601 time of day"
    pattern = _whole(f"{_CLOCK}(?:{_OFFSET})?")

    def _parse(self, text: str) -> time:
        return time.fromisoformat(text)

    def _format(self, value: time) -> str:
        return value.isoformat()


class Duration(Text):
    """A timedelta, as an ISO 8601 duration of days, hours, minutes and seconds."""

    python = timedelta
    expected = "an ISO 8601 duration"
    # With days, the rest is less than a day; without, each part may be as large as one likes.
    pattern = _whole(
        "(?!-P999999999DT.*[1-9])-?P(?:[0-9]{1,8}W"
        "|[0-9]{1,9}D(?:T(?=[0-9])(?:(?:[01]?[0-9]|2[0-3])H)?(?:[0-5]?[0-9]M)?"
        r"(?:[0-5]?[0-9](?:\.[0-9]{1,6})?S)?)?"
        r"|T(?=[0-9])(?:[0-9]{1,9}H)?(?:[0-9]{1,9}M)?(?:[0-9]{1,9}(?:\.[0-9]{1,6})?S)?)"
    )
    _PARTS = re.compile(
        r"(-?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d+))?S)?)?"
    )

    def _parse(self, text: str) -> timedelta:
        match = self._PARTS.fullmatch(text)
        assert match is not None
        sign, *numbers, fraction = match.groups()
        weeks, days, hours, minutes, seconds = (int(each or 0) for each in numbers)
        micro = int((fraction or "").ljust(6, "0"))
        # Counted in one integer: a sum of timedeltas overflows before the sign is there.
        whole = ((weeks * 7 + days) * 86_400) + hours * 3600 + minutes * 60 + seconds
        whole = whole * 1_000_000 + micro
        return timedelta(microseconds=-whole if sign else whole)

    def _format(self, value: timedelta) -> str:
        micro = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
        sign, micro = ("-", -micro) if micro < 0 else ("", micro)
        seconds, micro = divmod(micro, 1_000_000)
        days, seconds = divmod(seconds, 86_400)
        hours, seconds = divmod(seconds, 3600)
        minutes, seconds = divmod(seconds, 60)
        fraction = f".{micro:06}".rstrip("0") if micro else ""
        parts = [(hours, "H", ""), (minutes, "M", ""), (seconds, "S", fraction)]
        clock = "".join(f"{n}{part}{unit}" for n, unit, part in parts if n or part)
        day = f"{days}D" if days or not clock else ""
        return f"{sign}P{day}{'T' if clock else ''}{clock}"


class Identifier(Text):
    """A UUID.

    Args:
        is_key: Whether only the one spelling is read that is written: keys have to be unique.
    """

    python = uuid.UUID
    expected = "a UUID"
    pattern = _whole("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
    format = "uuid"

    def __init__(self, *, is_key: bool = False) -> None:
        if is_key:
            self.pattern = self.pattern.replace("A-F", "")
        super().__init__()

    def _parse(self, text: str) -> uuid.UUID:
        return uuid.UUID(text)

    def _format(self, value: uuid.UUID) -> str:
        return str(value)


class Exact(Text):
    """A Decimal, written as a string; a JSON number is read, too."""

    kinds = frozenset({"string", "number"})
    python = Decimal
    expected = "a decimal number"
    # An exponent of more digits is beyond the decimal module's own default.
    pattern = _whole(r"-?[0-9]{1,4000}(?:\.[0-9]{1,4000})?(?:[eE][+-]?[0-9]{1,6})?")

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return {"anyOf": [super().schema(definitions), {"type": "number"}]}

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        if type(value) in (int, float):
            return Decimal(repr(value)) if type(value) is float else Decimal(value)
        return super().read(value)

    def _parse(self, text: str) -> Decimal:
        number = Decimal(text)
        if not number.is_finite():
            raise ValueError(text)
        return number

    def _format(self, value: Decimal) -> str:
        return str(value)


class FilePath(Text):
    """A path, as its system spells it.

    Args:
        python: The class: `pathlib.Path`, or another one of that module.
    """

    expected = "a path"
    pattern = ""

    def __init__(self, python: type[pathlib.PurePath]) -> None:
        self.python = python
        super().__init__()

    def _parse(self, text: str) -> Any:
        return self.python(text)

    def _format(self, value: pathlib.PurePath) -> str:
        text = str(value)
        text.encode()  # a surrogate stands for a byte of the system that is no UTF-8
        return text


class Base64(Text):
    """Bytes, in base64."""

    python = bytes
    expected = "bytes in base64"
    pattern = _whole("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return {**super().schema(definitions), "contentEncoding": "base64"}

    def __init__(self) -> None:
        super().__init__()
        # The same as the pattern's for strings of a length that is a multiple of 4, and faster.
        rest = re.compile(r"[A-Za-z0-9+/]*={0,2}").fullmatch
        self._matches = lambda text: len(text) % 4 == 0 and rest(text) is not None

    def _parse(self, text: str) -> bytes:
        return base64.b64decode(text, validate=True)

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        if not isinstance(value, bytes):
            raise Mismatch.here(f"expected bytes, got {json_type(value)}")
        return base64.b64encode(value).decode()

    def fast(self) -> Fast:
        """As `Form.fast`."""
        return Fast(str, self.read)


TEXTS: dict[type, Form] = {
    bytes: Base64(),
    date: Date(),
    datetime: Moment(),
    time: Clock(),
    timedelta: Duration(),
    uuid.UUID: Identifier(),
    decimal.Decimal: Exact(),
}
"""By type; paths have their own classes."""

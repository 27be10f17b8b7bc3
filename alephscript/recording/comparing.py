"""Answers of two versions beside each other: what differs, ids and times aside.

An id is a value under a key such as ``id``, ``sessionId`` or ``session_id``, the incident of a
failure, or a UUID wherever it stands. A new version may give another one, the same each time: the
first pair settles what the old id is called from now on, in answers and in what is asked
(`Comparison.translate`). An id that an asker has made up has to come back as it was. Times are ISO
dates and times, and numbers under a key such as ``createdAt`` or ``executionTimeMs``: any is as
good as any other.

May go in: what counts as the same. May not: how an answer came about (`player`). Pure: no socket,
no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import attrs

from alephscript.contracts import wire_key

__all__ = ["Change", "Comparison", "parse_path", "write_path"]

Path = tuple[str | int, ...]
"""Keys, and numbers of items."""


@attrs.frozen
class Change:
    """A place in which two answers differ.

    Attributes:
        path: The place.
        then: What the old answer has there; `MISSING` if nothing.
        now: What the new answer has there; `MISSING` if nothing.
    """

    path: Path
    then: Any
    now: Any


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()

_ID_KEY = re.compile(r"^(?:id|ids|uuid|guid|sid)$|(?:Id|ID|Ids|IDs|Uuid|UUID)$|_(?:id|ids|uuid)$")
_INCIDENT = ["details", "incident"]
"""Where a master's failure says how its log names it."""

_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:[Zz]|[+-]\d\d:?\d\d)?)?"
    r"|\d\d:\d\d:\d\d(?:[.,]\d+)?(?:[Zz]|[+-]\d\d:?\d\d)?"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_TIME_WORDS = frozenset(
    {
        *("time", "timestamp", "ts", "date", "when", "fecha", "hora"),
        *("elapsed", "duration", "duracion", "uptime", "latency", "took"),
    }
)
_LONG = 8
"""Characters of an id that is the same one wherever it stands."""

_WORD = re.compile(rf"{_UUID.pattern}|[\w-]{{{_LONG},}}", re.IGNORECASE)
"""What may be an id inside a text."""


class _Ids:
    """Which new id stands for which old one.

    Short ids are many things' at once, so that those are known by whose they are: the ``1`` of a
    session is not that of a user.
    """

    def __init__(self) -> None:
        self._new: dict[tuple[str, Any], Any] = {}
        self._old: dict[tuple[str, Any], Any] = {}
        self._anywhere: dict[Any, set[Any]] = {}

    def settle(self, old: Any, new: Any, path: Path) -> bool:
        """Let an id be called something from now on; false if one of the two means another one."""
        there, here = (_owner(old, path), old), (_owner(new, path), new)
        if there in self._new or here in self._old:
            return there in self._new and bool(self._new[there] == new)
        self._new[there], self._old[here] = new, old
        self._anywhere.setdefault(old, set()).add(new)
        return True

    def is_known(self, value: Any, path: Path) -> bool:
        """Whether a value is an old id, or a new one."""
        key = (_owner(value, path), value)
        return key in self._new or key in self._old or value in self._anywhere

    def find(self, old: Any, path: Path) -> Any:
        """Return the new id in place of an old one; any other value as it is."""
        key = (_owner(old, path), old)
        if key in self._new:
            return self._new[key]
        names = self._anywhere.get(old, ())
        return next(iter(names)) if len(names) == 1 else old


class Comparison:
    """Answers compared one after the other, with what is known of ids by then.

    Args:
        ignored: Patterns of places that may differ; see `parse_path`. An empty one, of a variable
            that is not set, is none: it would be all of each answer.
    """

    def __init__(self, ignored: Iterable[Path] = ()) -> None:
        self._ignored = [each for each in ignored if each]
        self._ids = _Ids()

    def translate(self, value: Any) -> Any:
        """Put new ids in place of old ones, anywhere in a value that is asked or said."""
        for each, path in _ids_in(value):
            if not self._ids.is_known(each, path):
                self._ids.settle(each, each, path)  # the asker's own: answers only repeat it
        return self._translate(value, ())

    def learn(self, then: Any, now: Any) -> None:
        """Settle ids by two values of which nothing else is compared."""
        list(self._compare(then, now, ()))

    def compare(self, then: Any, now: Any, left_out: Sequence[Path] = ()) -> list[Change]:
        """List the places in which a new answer differs.

        Args:
            then: The old answer.
            now: The new one.
            left_out: Places that are not compared.
        """
        changes = self._compare(then, now, ())
        return [each for each in changes if not any(_is_under(each.path, p) for p in left_out)]

    def _compare(self, then: Any, now: Any, path: Path) -> Iterator[Change]:
        if any(_matches(each, path) for each in self._ignored):
            return
        if isinstance(then, dict) and isinstance(now, dict):
            yield from self._compare_fields(then, now, path)
        elif isinstance(then, list) and isinstance(now, list):
            for index, (old, new) in enumerate(zip_longest(then, now, fillvalue=MISSING)):
                yield from self._compare(old, new, (*path, index))
        elif not self._is_same(then, now, path):
            yield Change(path, then, now)

    def _compare_fields(
        self, then: dict[str, Any], now: dict[str, Any], path: Path
    ) -> Iterator[Change]:
        names = {key: self._translate_key(key, path) for key in then}
        # Objects by id: those that are nowhere else belong together, in their order.
        strays = [key for key, name in names.items() if name not in now and _is_uuid(key)]
        others = [key for key in now if _is_uuid(key) and key not in names.values()]
        pairs = zip(strays, others, strict=False)
        names |= {old: new for old, new in pairs if self._ids.settle(old, new, path)}
        for old, new in names.items():
            yield from self._compare(then[old], now.get(new, MISSING), (*path, old))
        known = set(names.values())
        for key, each in now.items():
            if key not in known:
                yield from self._compare(MISSING, each, (*path, key))

    def _is_same(self, then: Any, now: Any, path: Path) -> bool:
        if type(then) is not type(now):
            # JSON has one kind of number.
            is_number = _is_number(then) and _is_number(now)
            return is_number and (then == now or _is_time(then, now, path))
        if _is_id(then, now, path):
            return self._ids.settle(then, now, path)
        is_equal = then == now or self._translate(then, path) == now
        return bool(is_equal) or _is_time(then, now, path)

    def _translate(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {
                self._translate_key(key, path): self._translate(each, (*path, key))
                for key, each in value.items()
            }
        if isinstance(value, list):
            return [self._translate(each, (*path, index)) for index, each in enumerate(value)]
        if isinstance(value, str):
            new = self._ids.find(value, path)
            if new is not value:
                return new
            return _WORD.sub(lambda found: str(self._ids.find(found[0], path)), value)
        return self._ids.find(value, path) if _has_id_key(path) else value

    def _translate_key(self, key: str, path: Path) -> str:
        return str(self._ids.find(key, path)) if len(key) >= _LONG else key


def parse_path(text: str) -> Path:
    """Parse a dotted path: ``steps.0.tookMs``; ``*`` stands for any key, any item.

    Numbers of items may be left out: ``steps.tookMs`` is that field of each.
    """
    return tuple(each for each in text.replace("[", ".").replace("]", "").split(".") if each)


def write_path(path: Path) -> str:
    """Write a place as a dotted path; the whole answer is ``.``."""
    return ".".join(map(str, path)) or "."


def _matches(pattern: Path, path: Path) -> bool:
    if not pattern:
        return True  # and all that is under it
    if not path:
        return False
    first, step = str(pattern[0]), path[0]
    if (first in ("*", str(step)) or wire_key(first) == step) and _matches(pattern[1:], path[1:]):
        return True
    return isinstance(step, int) and _matches(pattern, path[1:])


def _is_under(path: Path, place: Path) -> bool:
    shortest = min(len(path), len(place))
    return path[:shortest] == place[:shortest]


def _owner(value: Any, path: Path) -> str:
    """Say whose a short id is, by its key or the one around it; empty for a long one."""
    if isinstance(value, str) and len(value) >= _LONG:
        return ""
    names = [each for each in path if isinstance(each, str)][-2:]
    own = re.sub(r"_?(?:ids?|uuid|guid)$", "", names[-1], flags=re.IGNORECASE) if names else ""
    whose = own or (names[0] if len(names) > 1 else "id")
    return whose.lower().removesuffix("s")


def _has_id_key(path: Path) -> bool:
    names = [each for each in path if isinstance(each, str)]
    return bool(names) and (names == _INCIDENT or _ID_KEY.search(names[-1]) is not None)


def _is_id(then: Any, now: Any, path: Path) -> bool:
    if isinstance(then, bool) or not isinstance(then, str | int):
        return False
    return _has_id_key(path) or (_is_uuid(then) and _is_uuid(now))


def _is_uuid(value: Any) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _is_time(then: Any, now: Any, path: Path) -> bool:
    if isinstance(then, str) and isinstance(now, str):
        return _TIME.fullmatch(then) is not None and _TIME.fullmatch(now) is not None
    names = [each for each in path if isinstance(each, str)]
    words = _HUMP.sub(" ", names[-1]).lower().split() if names else []
    is_named = words[-1:] == ["at"] or not _TIME_WORDS.isdisjoint(words)
    return is_named and _is_number(then) and _is_number(now)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ids_in(value: Any, path: Path = ()) -> Iterator[tuple[Any, Path]]:
    """Give the ids in a value, and where they stand."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _ids_in(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _ids_in(each, (*path, index))
    elif _is_id(value, value, path):
        yield value, path

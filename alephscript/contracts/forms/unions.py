"""Unions, whose members a value on the wire tells apart.

Members are told apart by the kind of JSON value; strings by their patterns or choices; objects by a
key whose values are different ones in each (a tag), or by what one requires and the other does not
have. A union whose members cannot be told apart is refused while its class is made.

May go in: telling members apart. May not: finding the forms of members.

Pure: no socket, no clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from alephscript.contracts.forms.choices import Choices
from alephscript.contracts.forms.containers import Row
from alephscript.contracts.forms.form import (
    Definitions,
    Fast,
    Form,
    Later,
    Mismatch,
    Schema,
    choice_key,
    describe,
    json_type,
)
from alephscript.contracts.forms.records import Record
from alephscript.contracts.forms.scalars import Null
from alephscript.contracts.forms.texts import Base64, Exact, FilePath, Text

__all__ = ["Ambiguous", "Union", "join"]


class Ambiguous(Exception):
    """Two members of a union cannot be told apart; ``args`` are their places."""


def join(members: Sequence[Form]) -> Form:
    """Return the form of a union.

    Raises:
        Ambiguous: Two members cannot be told apart.
    """
    if len(members) == 1:
        return members[0]
    ordered = _order(members)
    return Union(ordered, _find_tag([m for m in ordered if "object" in m.kinds]))


class Union(Form):
    """One of several forms.

    Args:
        members: The forms, in the order in which they are tried.
        tag: The key that tells those apart that are objects; empty for none.
    """

    def __init__(self, members: Sequence[Form], tag: str) -> None:
        self.members = tuple(members)
        self.tag = tag
        self.kinds = frozenset().union(*(each.kinds for each in members))
        self.is_hashable = all(each.is_hashable for each in members)
        self._by_tag: dict[Any, Form] = {}
        for each in members:
            if tag and isinstance(each, Record):
                self._by_tag |= dict.fromkeys(_tag_choices(each, tag) or (), each)

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        objects = [each for each in self.members if "object" in each.kinds]
        others = [each.schema(definitions) for each in self.members if each not in objects]
        described = [each.schema(definitions) for each in objects]
        if self.tag and len(objects) > 1:
            tagged: Schema = {"type": "object", "required": [self.tag], "anyOf": described}
            if not others:
                return tagged
            described = [tagged]
        plain = [
            each["type"] for each in others if set(each) == {"type"} and type(each["type"]) is str
        ]
        if len(plain) == len(others) + len(described):
            return {"type": plain}
        return {"anyOf": [*described, *others]}

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        kind = json_type(value)
        members = [each for each in self.members if kind in each.kinds]
        if not members:
            raise Mismatch.here(f"expected {self._expected(value)}, got {kind}")
        if kind == "object" and self._by_tag:
            return self._tagged(value).read(value)
        mismatches = []
        for each in members:
            try:
                return each.read(value)
            except Mismatch as mismatch:
                mismatches.append(mismatch)
        raise self._nearest(mismatches, value)

    def _tagged(self, value: dict[str, Any]) -> Form:
        key = self.tag
        if key not in value:
            raise Mismatch(((key,), "missing; it tells which of the forms this is"))
        found = value[key]
        member = None
        if isinstance(found, str | int | float | bool | None):
            member = self._by_tag.get(choice_key(found))
        if member is None:
            tags = ", ".join(
                str(each[1] if isinstance(each, tuple) else each) for each in self._by_tag
            )
            raise Mismatch(((key,), f"expected one of {tags}, got {describe(found)}"))
        return member

    def _nearest(self, mismatches: list[Mismatch], value: Any) -> Mismatch:
        if len(mismatches) == 1:
            return mismatches[0]
        # The deepest problem, then the fewest: the member that the sender is likely to have meant.
        if json_type(value) in ("object", "array"):
            return min(
                mismatches,
                key=lambda each: (
                    sum(message.startswith("missing") for _, message in each.problems),
                    len(each.problems),
                ),
            )
        messages = dict.fromkeys(message for each in mismatches for _, message in each.problems)
        return Mismatch.here(" or ".join(messages))

    def _expected(self, value: Any) -> str:
        """Name what the members expect; null alone goes without saying."""
        mismatches = []
        for each in self.members:
            try:
                each.read(value)
            except Mismatch as mismatch:
                if not isinstance(each, Null):
                    mismatches.append(mismatch)
        return _stems(mismatches)

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        mismatches = []
        for each in self.members:
            try:
                written = each.write(value)
            except Mismatch as mismatch:
                mismatches.append(mismatch)
                continue
            return written
        if all(not path for each in mismatches for path, _ in each.problems):
            raise Mismatch.here(f"expected {_stems(mismatches)}, got {describe(value)}")
        raise max(mismatches, key=lambda each: max(len(path) for path, _ in each.problems))

    def fast(self) -> Fast:
        """As `Form.fast`."""
        if len(self.members) == 2 and any(isinstance(each, Null) for each in self.members):  # noqa: PLR2004
            inner = next(each for each in self.members if not isinstance(each, Null))
            if isinstance(inner, Later):
                return Fast(Any, self.read)
            kind, make = inner.fast()
            if make is None:
                return Fast(kind | None)
            return Fast(kind | None, lambda value: None if value is None else make(value))
        return Fast(Any, self.read)

    def choices(self) -> dict[Any, Any] | None:
        """As `Form.choices`."""
        found = [each.choices() for each in self.members]
        if any(each is None for each in found):
            return None
        return {key: wire for each in found if each for key, wire in each.items()}


def _stems(mismatches: Sequence[Mismatch]) -> str:
    """Return what some mismatches expected, without what they got."""
    messages = (message for each in mismatches for _, message in each.problems)
    stems = (each.removeprefix("expected ").rpartition(", got ")[0] or each for each in messages)
    return " or ".join(dict.fromkeys(stems))


def _order(members: Sequence[Form]) -> list[Form]:
    """Order members so that each is tried before those that would take what it writes.

    Raises:
        Ambiguous: There is no such order.
    """
    after: dict[int, set[int]] = {place: set() for place in range(len(members))}
    tag = _find_tag([each for each in members if "object" in each.kinds])
    for (a, left), (b, right) in itertools.combinations(enumerate(members), 2):
        if are_disjoint(left, right) or (tag and _is_record(left) and _is_record(right)):
            continue
        # A record that requires what the other does not have, refuses all that the other writes.
        left_first = _requires_more(left, right)
        right_first = _requires_more(right, left)
        if not left_first and not right_first:
            raise Ambiguous(a, b)
        if left_first and not right_first:
            after[b].add(a)
        elif right_first and not left_first:
            after[a].add(b)
    order: list[int] = []
    while len(order) < len(members):
        ready = [n for n in after if n not in order and after[n].issubset(order)]
        if not ready:
            left_over = [n for n in after if n not in order]
            raise Ambiguous(left_over[0], left_over[1])
        order.append(ready[0])
    return [members[place] for place in order]


def _is_record(form: Form) -> bool:
    return isinstance(form, Record) and not form.shape.is_array


def _requires_more(form: Form, other: Form) -> bool:
    """Return whether a record requires a key that the other one never has."""
    if not (isinstance(form, Record) and isinstance(other, Record)):
        return False
    if form.shape.is_array or other.shape.is_array:
        return False
    required = {field.key for field in form.shape.fields if field.is_required}
    return not required <= set(other.keys)


def are_disjoint(left: Form, right: Form) -> bool:
    """Return whether no JSON value has both forms, as far as that can be told."""
    shared = left.kinds & right.kinds
    if not shared:
        return True
    for one, other in ((left, right), (right, left)):
        listed = one.choices()
        if listed is not None:
            return not any(other.takes(wire) for wire in listed.values())
    if shared == {"string"}:
        return _are_distinct_texts(left, right)
    if shared == {"array"} and isinstance(left, Row) and isinstance(right, Row):
        return len(left.places) != len(right.places)
    if shared == {"object"} and isinstance(left, Record) and isinstance(right, Record):
        return _are_distinct_records(left, right)
    return False


def _are_distinct_texts(left: Form, right: Form) -> bool:
    """Return whether the patterns of two texts have no string in common."""
    return (
        isinstance(left, Text)
        and isinstance(right, Text)
        and type(left) is not type(right)
        and not isinstance(left, FilePath | Base64)
        and not isinstance(right, FilePath | Base64)
        and not (isinstance(left, Exact) and isinstance(right, Exact))
    )


def _are_distinct_records(left: Record, right: Record) -> bool:
    """Return whether a key that both require has different values in each."""
    if left.shape.tag and right.shape.tag and left.shape.tag[0] == right.shape.tag[0]:
        return bool(left.shape.tag[1] != right.shape.tag[1])
    others = {field.key: field for field in right.shape.fields if field.is_required}
    return any(
        field.is_required
        and field.key in others
        and not isinstance(field.form, Later)
        and not isinstance(others[field.key].form, Later)
        and are_disjoint(field.form, others[field.key].form)
        for field in left.shape.fields
    )


def _find_tag(objects: Sequence[Form]) -> str:
    """Find the key that has other choices in each of some records; empty if there is none."""
    records = [each for each in objects if isinstance(each, Record)]
    if len(records) < 2 or len(records) < len(objects):  # noqa: PLR2004
        return ""
    for key in records[0].keys:
        seen: set[Any] = set()
        for each in records:
            choices = _tag_choices(each, key)
            if not choices or seen & choices.keys():
                break
            seen |= choices.keys()
        else:
            return key
    return ""


def _tag_choices(record: Record, key: str) -> dict[Any, Any] | None:
    if record.shape.tag and record.shape.tag[0] == key:
        return {choice_key(record.shape.tag[1]): record.shape.tag[1]}
    for field in record.shape.fields:
        # A key that may be left out when it is written tells nothing.
        if field.key == key and isinstance(field.form, Choices) and field.omitted is not None:
            return field.form.choices()
    return None

"""The bytes that hubs write to each other and to their registry.

=============  ==================================  ====================================
written        holds                               read by
=============  ==================================  ====================================
message        hub and namespace, frames;          one hub
               hub, announcements                  all hubs that subscribed to a room
frame          kind, fields                        one hub (`alephscript.mesh.federation`)
announcement   event, data, sender, when           all hubs that subscribed to a room
entry          name, dialect, declaration          all hubs, inside the record of a room
record         epoch, masters with their entries   all hubs
value          stamp, sender, when, data, quiet    all hubs
logged         log, number, lost; event, data,     all hubs that subscribed to a room,
               sender, when, hub, ticket           and who reads its log
=============  ==================================  ====================================

Where hubs have a key, each message, entry and value is signed (`signing`), and so is each notice
of the registry, by the hub that it was decided for.

What a hub reads is said by its name (`make_hub_name`). Hubs of the version before are written
messages of the hub and frames that begin with the namespace; those before them one each: the hub's
name, then the fields.

May go in: how these are written and read. May not: when they are sent (`cluster`), or by what
(`redis`).
"""

from __future__ import annotations

import hashlib
import secrets
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec

from alephscript.errors import AlephScriptError
from alephscript.hub.cluster.registry import Logged, Standings, Values
from alephscript.hub.cluster.signing import OPEN, Seals, Untrusted
from alephscript.mesh.effects import Claim
from alephscript.mesh.federation import Entry
from alephscript.mesh.foreign import read_count, read_flag, read_number, read_text
from alephscript.mesh.pages import LogEntry
from alephscript.mesh.retained import RetainedValue
from alephscript.protocol import events
from alephscript.protocol.json import parse_json

__all__ = [
    "LOGGED",
    "MALFORMED",
    "HubNotice",
    "Item",
    "Notice",
    "RoomNotice",
    "Signature",
    "ValueNotice",
    "find_sender",
    "has_kinds",
    "make_hub_name",
    "master_place",
    "read_field",
    "read_item",
    "read_logged",
    "read_message",
    "read_notice",
    "read_notice_number",
    "read_one_by_one",
    "read_standings",
    "read_trusted_hubs",
    "read_values",
    "reads_kinds",
    "reads_messages",
    "value_place",
    "write_entry",
    "write_field",
    "write_frames_head",
    "write_head",
    "write_item",
    "write_logged",
    "write_single",
    "write_value",
]

MALFORMED = (
    *(msgspec.DecodeError, AlephScriptError, RecursionError),
    *(ValueError, TypeError, LookupError, AttributeError, OverflowError),
)
"""What reading something can raise that is none of ours, or of another version of a hub."""


Item = msgspec.Raw | bytes
"""The JSON text of a frame or an announcement."""

LOGGED = b"L"
"""What tells of an entry of a log, and is no JSON, begins with."""

_READS_MESSAGES = "m"
_READS_KINDS = "mk"
"""What the names of such hubs begin with: those before them had hexadecimal digits alone."""


@attrs.frozen
class RoomNotice:
    """A decision about a room: its epoch and its masters from now on."""

    seq: int
    namespace: str
    room: str
    epoch: int
    entries: Sequence[Entry]


@attrs.frozen
class HubNotice:
    """A hub has come, or is gone."""

    seq: int
    hub: str
    is_gone: bool
    version: str = ""


@attrs.frozen
class ValueNotice:
    """A decision about a retained value of a room; ``source`` names the registry's data."""

    seq: int
    namespace: str
    room: str
    event: str
    value: RetainedValue
    is_quiet: bool
    source: str


Notice = RoomNotice | HubNotice | ValueNotice


@attrs.frozen
class Signature:
    """The signature of a notice, of which nothing is known but that it is right.

    Attributes:
        by: The hub that has signed.
        stamp: For `Freshness`.
        about: The hub that is being removed, which may take several notices; else empty.
    """

    by: str
    stamp: int
    about: str


def make_hub_name() -> str:
    """Make the name of a hub, which tells others what it reads."""
    return _READS_KINDS + secrets.token_hex(6)


def reads_messages(hub: str) -> bool:
    """Whether a hub reads messages of several frames or announcements."""
    return hub.startswith(_READS_MESSAGES)


def reads_kinds(hub: str) -> bool:
    """Whether a hub reads messages of frames that begin with their kind, of one namespace."""
    return hub.startswith(_READS_KINDS)


def write_head(hub: str) -> bytes:
    """Write what a message of this hub begins with; items follow, by commas, and two brackets."""
    return b"[%b,[" % _encode(hub)


def write_frames_head(hub: str, namespace: str) -> bytes:
    """Write what a message of frames begins with; see `write_head`."""
    return b"[%b,[" % _encode((hub, namespace))


def write_single(hub: str, item: bytes) -> bytes:
    """Write a frame or an announcement for a hub that reads no messages of several."""
    return b"[%b,%b" % (_encode(hub), item[1:])


def read_one_by_one(data: bytes) -> tuple[str, str, Sequence[Item]]:
    """Read a message of frames: the sender's name, the namespace, and the frames, unread.

    Raises:
        Exception: One of `MALFORMED`.
    """
    message = _read_frames(data)
    return *message.sender, message.items


def has_kinds(data: bytes) -> bool:
    """Whether a message is of frames that begin with their kind, of one namespace."""
    return data.startswith(b"[[")


def read_message(data: bytes) -> tuple[str, Sequence[Item]]:
    """Read the sender's name, and what it has sent; raises one of `MALFORMED`."""
    if data[data.find(b",") + 1 : data.find(b",") + 2] == b"[":
        message = _read_message(data)
        return message.hub, message.items
    hub, comma, fields = data.partition(b",")
    return msgspec.json.decode(hub[1:], type=str), [b"[" + fields] if comma else []


def find_sender(message: bytes) -> str:
    """Find the sender's name in a message whose signature is right, without reading the rest."""
    return message.split(b'"', 2)[1].decode()


class _Item(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    event: str
    data: msgspec.Raw
    sender: str
    at: int
    hub: str
    ticket: int


_read_item = msgspec.json.Decoder(_Item).decode


def write_logged(entry: LogEntry, hub: str, ticket: int, field: str, seals: Seals) -> bytes:
    """Write an entry for the stream of a room."""
    item = (entry.event, entry.data, entry.sender, entry.at, hub, ticket)
    return seals.sign_once("logged", field, _encode(item))


def read_item(log: str, number: int, lost: int, item: bytes, field: str, seals: Seals) -> Logged:
    """Read an entry of a stream; raises one of `MALFORMED`."""
    stamp, text = seals.verify_once("logged", field, item)
    read = _read_item(text)
    if not lost:
        events.check_event(read.event)
    at = read_count(read.at)
    entry = LogEntry(number, read.event, read.data.copy(), read.sender, at, lost)
    return Logged(log, entry, read.hub, read.ticket, stamp)


def read_logged(message: bytes, field: str, seals: Seals) -> Logged:
    """Read what `append.lua` tells of an entry; raises one of `MALFORMED`."""
    log, number, lost, item = message[1:].split(b"\n", 3)
    return read_item(log.decode(), int(number), int(lost), item, field, seals)


class _Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    hub: str
    items: list[msgspec.Raw]


_read_message = msgspec.json.Decoder(_Message).decode


class _Frames(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    sender: tuple[str, str]
    items: list[msgspec.Raw]


_read_frames = msgspec.json.Decoder(_Frames).decode


def write_entry(claim: Claim) -> bytes:
    """Write what other hubs have to know of a master."""
    return _encode([claim.name, claim.is_core, claim.declared])


def master_place(field: str, hub: str, sid: str, group: str) -> str:
    """Write where the signature of an entry counts."""
    return f"{hub}\n{sid}\n{group}\n{field}"


def read_standings(
    pairs: Sequence[bytes], seals: Seals, skip: Callable[[Exception], None]
) -> Standings:
    """Read all rooms of the registry: field and record by turns.

    Args:
        pairs: Fields and records.
        seals: Looks at signatures.
        skip: Gets what was raised for each room that makes no sense, and for each master without a
            right signature, which are left out.
    """
    standings: dict[tuple[str, str], tuple[int, list[Entry]]] = {}
    for field, record in zip(pairs[::2], pairs[1::2], strict=True):
        try:
            name = field.decode()
            standing = _read_standing(name, msgspec.json.decode(record), seals, skip)
            standings[read_field(name)] = standing
        except MALFORMED as exc:
            skip(exc)
    return standings


def write_value(value: RetainedValue, *, is_quiet: bool) -> bytes:
    """Write what other hubs have to know of a retained value; see `_read_value`."""
    return _encode([value.stamp, value.sender, value.at, value.data, is_quiet])


def read_trusted_hubs(
    hubs: Sequence[bytes],
    pairs: Sequence[bytes],
    seals: Seals,
    skip: Callable[[Exception], None],
) -> set[str]:
    """Read the names of all hubs of the registry that have come with a right signature.

    Args:
        hubs: The names.
        pairs: Name and signature by turns.
        seals: Looks at signatures.
        skip: Gets what was raised for each that is left out.
    """
    signatures = dict(zip(pairs[::2], pairs[1::2], strict=True))
    trusted = set()
    for hub in hubs:
        try:
            seals.verify("came", hub, signatures.get(hub, b""))
        except Untrusted as exc:
            skip(exc)
        else:
            trusted.add(hub.decode(errors="replace"))
    return trusted


def read_values(
    pairs: Sequence[bytes], seals: Seals, skip: Callable[[Exception], None]
) -> tuple[str, Values]:
    """Read all retained values of the registry: field and record by turns.

    Args:
        pairs: Fields and records; the record of the empty field names the registry's data.
        seals: Looks at signatures.
        skip: Gets what was raised for each value that makes no sense, which is left out.

    Returns:
        The name of the data, empty if there never was a value; and the values in the order of
        their positions.
    """
    source, values = "", []
    for field, record in zip(pairs[::2], pairs[1::2], strict=True):
        try:
            if not field:
                source = record.decode()
                continue
            position, text = record.split(b" ", 1)
            text = seals.verify("value", field, text)
            value, _ = _read_value(text, _read_epoch(int(position)))
            values.append((_read_value_field(field.decode()), value))
        except MALFORMED as exc:
            skip(exc)
    return source, dict(sorted(values, key=lambda pair: pair[1].position))


def _read_value(text: str | bytes, position: int) -> tuple[RetainedValue, bool]:
    """Read a retained value, and whether nobody is to be told of it."""
    stamp, sender, at, data, is_quiet = _split(text)
    is_forgotten = bytes(data) == b"null"
    value = RetainedValue(
        None if is_forgotten else data.copy(),
        read_text(sender),
        read_count(at),
        stamp=read_text(stamp),
        position=position,
    )
    return value, read_flag(is_quiet)


def _read_value_field(field: str) -> tuple[str, str, str]:
    namespace, room, event = field.split("\n")
    return namespace, room, event


def read_notice(
    data: bytes, seals: Seals = OPEN, skip: Callable[[Exception], None] = lambda _: None
) -> tuple[Notice, Signature]:
    """Read what the registry has decided; raises one of `MALFORMED`.

    Args:
        data: The notice.
        seals: Looks at signatures.
        skip: Gets what was raised for each master without a right signature, which is left out.
    """
    notice = msgspec.json.decode(data)
    seq, kind = read_number(notice["seq"]), notice["kind"]
    signature = _read_signature(notice, seals)
    if kind == "room":
        field = notice["field"]
        standing = _read_standing(field, notice["record"], seals, skip)
        return RoomNotice(seq, *read_field(field), *standing), signature
    if kind == "value":
        field = notice["field"]
        position = _read_epoch(notice.get("position", seq))
        text = seals.verify("value", field, notice["entry"].encode())
        value, is_quiet = _read_value(text, position)
        key = _read_value_field(field)
        return ValueNotice(seq, *key, value, is_quiet, read_text(notice["source"])), signature
    if kind not in ("came", "gone"):
        raise ValueError("a notice of an unknown kind")
    hub, version = read_text(notice["hub"]), str(notice.get("version", ""))
    return HubNotice(seq, hub, kind == "gone", version), signature


def _read_signature(notice: Any, seals: Seals) -> Signature:
    """Read whose decision a notice is, and raise `Untrusted` if it is nobody's."""
    by, signed, gone = notice.get("by", ""), notice.get("seal", ""), notice.get("gone", "")
    kind = notice["kind"]
    if gone:
        # All that a removal brings about has one signature, and takes nobody else's masters away.
        is_about_it = notice["hub"] == gone if kind == "gone" else kind == "room"
        if not is_about_it:
            raise Untrusted("it is signed for something else")
        kind, place = "gone", f"{by}\n{gone}"
    elif kind == "value":
        place = value_place(by, notice["field"], notice["entry"])
    elif kind == "came":
        place = by = notice["hub"]
    else:
        place = f"{by}\n{notice.get('field')}"
    stamp, _ = seals.verify_once(str(kind), place, signed.encode())
    return Signature(by, stamp, gone)


def value_place(hub: str, field: str, entry: str) -> str:
    """Write where the signature of a decision about a value counts."""
    return f"{hub}\n{field}\n{entry}"


def read_notice_number(data: bytes) -> int | None:
    """Read the number of a notice that makes no sense otherwise, if it has any."""
    try:
        return read_number(msgspec.json.decode(data)["seq"])
    except MALFORMED:
        return None


def _read_standing(
    field: str, record: Any, seals: Seals, skip: Callable[[Exception], None]
) -> tuple[int, list[Entry]]:
    masters = record["masters"] or []  # Lua writes an empty table as an object
    entries = []
    for hub, sid, group, signed in masters:
        try:
            text = seals.verify("master", master_place(field, hub, sid, group), signed.encode())
        except Untrusted as exc:
            skip(exc)
        else:
            entries.append(_read_entry(hub, sid, text))
    return _read_epoch(record["epoch"]), entries


def _read_epoch(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("no epoch")
    return value


def write_field(namespace: str, room: str) -> str:
    """Write a room and its namespace as one key."""
    return f"{namespace}\n{room}"  # no namespace of a hub has a line end in it


def read_field(field: str) -> tuple[str, str]:
    """Read namespace and room from their key."""
    namespace, room = field.split("\n", 1)
    return namespace, room


def _read_entry(hub: str, sid: str, text: bytes) -> Entry:
    name, is_core, declared = _split(text)
    declaration = _read_declaration(bytes(declared))
    return Entry(read_text(hub), read_text(sid), read_text(name), declaration, read_flag(is_core))


def _read_declaration(text: bytes) -> events.Declaration:
    """Read a declaration; instances of one class declare the same, which is kept once.

    Each decision about a room brings all its masters again, which nearly all are known. A
    declaration is kept no longer than somebody declares it: by a hash, as texts may be long.
    """
    key = hashlib.blake2b(text, digest_size=16).digest()
    declaration = _declarations.get(key)
    if declaration is None:
        declaration = _declarations[key] = events.parse_declaration(parse_json(text))
    return declaration


_declarations: weakref.WeakValueDictionary[bytes, events.Declaration]
_declarations = weakref.WeakValueDictionary()


_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode

write_item: Callable[[Sequence[Any]], bytes] = _encode
"""Writes a frame or an announcement, whose fields may be unread."""

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode

"""Signatures of what hubs write to each other and to their registry, under a key that they share.

Whoever may write to the registry is believed to be a hub, unless hubs have a key: then each message
on a channel, each notice and each record is a statement with an HMAC over its kind, its place and
its text, and all else is refused (decision 0050). A message and a notice have a stamp, too, which
grows from one to the next of a hub, so that none counts twice.

May go in: what is signed how, and what is refused. May not: what the texts say (`frames`), how they
travel (`redis`). Pure but for the clock that it is given.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from alephscript.errors import AlephScriptError

__all__ = ["OPEN", "Freshness", "Seals", "Untrusted", "read_keys"]

_MARK = b"*"
"""What a signed text begins with; no other text between hubs does."""

_MAC = 32
_STAMP = 14
"""Hexadecimal digits of a signature, and of a stamp: microseconds since 1970."""

_CLOCK_MICROSECONDS = 60_000_000
"""By how much the clocks of two hubs may differ; a message is refused as old beyond that."""

_FEW_HUBS = 64
"""Hubs whose last stamp is kept before those are looked for that the clock refuses anyway."""


class Untrusted(AlephScriptError, ValueError):
    """A text that does not count, though some hub may have written it.

    Attributes:
        reason: The word that refusals are counted by, `hub_signature` or `hub_replay`.
    """

    def __init__(self, message: str, reason: str = "hub_signature") -> None:
        super().__init__(message)
        self.reason = reason


def read_keys(file: Path) -> list[bytes]:
    """Read the keys in a file, one a line: the first signs, each is accepted.

    A file that is no text is one key: its bytes may look like ends of lines, and what lies between
    two of them may be short enough to be guessed.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file has no key.
    """
    data = file.read_bytes()
    keys = [line.strip() for line in data.split(b"\n")] if _is_text(data) else [data]
    keys = [key for key in keys if key]
    if not keys:
        raise ValueError(f"{file} holds no key; `openssl rand -hex 32` makes one")
    return keys


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return all(each.isprintable() or each in "\t\r\n" for each in text)


class Seals:
    """Signs texts and looks at signatures; without keys all texts stay as they are.

    Args:
        keys: The keys: the first signs, each is accepted.
        clock: Tells seconds since 1970.
    """

    def __init__(self, keys: Sequence[bytes], clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock
        self._last = 0

    def __bool__(self) -> bool:
        return bool(self._keys)

    def sign(self, kind: str, place: str | bytes, text: bytes = b"") -> bytes:
        """Sign a text that stays: what stands in the registry, until something else does.

        Args:
            kind: What the text is.
            place: Where it counts, and nowhere else.
            text: The text.
        """
        if not self._keys:
            return text
        return b"%b%b%b" % (_MARK, _make_mac(self._keys[0], kind, place, text), text)

    def verify(self, kind: str, place: str | bytes, signed: bytes) -> bytes:
        """Return the text of what `sign` has made; the arguments are those of `sign`.

        Raises:
            Untrusted: It has no right signature.
        """
        if not self._keys:
            if signed.startswith(_MARK):
                raise Untrusted("it is signed, and this hub has no --cluster-key")
            return signed
        mac, text = signed[1 : _MAC + 1], signed[_MAC + 1 :]
        if signed.startswith(_MARK):
            for key in self._keys:
                if hmac.compare_digest(_make_mac(key, kind, place, text), mac):
                    return text
        raise Untrusted("it has no right signature; all hubs need the same --cluster-key")

    def sign_once(self, kind: str, place: str | bytes, text: bytes = b"") -> bytes:
        """Sign a text that counts once, now."""
        if not self._keys:
            return text
        self._last = max(self._last + 1, int(self._clock() * 1_000_000))
        return self.sign(kind, place, b"%014x%b" % (self._last, text))

    def verify_once(self, kind: str, place: str | bytes, signed: bytes) -> tuple[int, bytes]:
        """Return the stamp of what `sign_once` has made, for `Freshness`, and its text.

        Raises:
            Untrusted: It has no right signature.
        """
        stamped = self.verify(kind, place, signed)
        if not self._keys:
            return 0, stamped
        return int(stamped[:_STAMP], 16), stamped[_STAMP:]


OPEN = Seals(())
"""Signs nothing, and accepts all that is not signed."""


class Freshness:
    """The stamps that were seen on one way from other hubs, which keeps their order.

    Args:
        clock: Tells seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last: dict[str, tuple[int, str]] = {}
        self._most = _FEW_HUBS

    def take(self, hub: str, stamp: int, about: str = "") -> None:
        """Take a stamp, which has to be later than those before.

        Args:
            hub: The hub whose stamp it is.
            stamp: The stamp; 0 where nothing is signed.
            about: What several texts in a row may have one stamp for; empty if none may.

        Raises:
            Untrusted: The text was here before, or is old.
        """
        if not stamp:
            return
        oldest = int(self._clock() * 1_000_000) - _CLOCK_MICROSECONDS
        last, last_about = self._last.get(hub, (0, ""))
        if stamp < oldest or stamp < last or (stamp == last and not about == last_about != ""):
            raise Untrusted(
                "it was here before, or is old; the clocks of hubs may differ by a minute",
                "hub_replay",
            )
        self._last[hub] = stamp, about
        if len(self._last) > self._most:
            self._last = {name: each for name, each in self._last.items() if each[0] >= oldest}
            self._most = _FEW_HUBS + 2 * len(self._last)


def _make_mac(key: bytes, kind: str, place: str | bytes, text: bytes) -> bytes:
    where = place.encode() if isinstance(place, str) else place
    signed = b"%b %d\n%b%b" % (kind.encode(), len(where), where, text)
    return hmac.digest(key, signed, "sha256")[: _MAC // 2].hex().encode()

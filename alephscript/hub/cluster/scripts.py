"""The scripts by which a registry in Redis decides, as commands that this hub signs.

Each decision is a script (`*.lua` beside this file, each behind `common.lua`), so that none can be
half done.

May go in: the words of each script's command, and what of them is signed. May not: when a command
is sent, and what follows from its result (`redis`).
"""

from __future__ import annotations

import functools
import importlib.resources
from typing import Any

from alephscript.hub.cluster.frames import (
    master_place,
    value_place,
    write_entry,
    write_field,
    write_value,
)
from alephscript.hub.cluster.resp import Commands
from alephscript.hub.cluster.signing import Seals
from alephscript.mesh.effects import Claim, Release, Retain

__all__ = ["SCRIPTS", "Scripts", "read_script"]

SCRIPTS = ("join", "dump", "beat", "remove", "claim", "release", "retain", "append", "leave")
"""Names of the scripts."""

_LEASE_MILLISECONDS = 1500
"""How long a hub is believed to live without a sign of it."""

Words = tuple[Any, ...]


class Scripts:
    """The scripts, as one hub has them carried out.

    Args:
        seals: Signs what is written.
        prefix: The text that keys begin with.
        version: This hub's version, which the others are told.

    Attributes:
        prefix: As given; in a Redis Cluster a hash tag, so that all is in one slot.
        hub: This hub's name.
        generation: Which life of this hub it is: commands of an earlier one are refused.
    """

    def __init__(self, seals: Seals, prefix: str, version: str) -> None:
        self.prefix = prefix
        self.hub = ""
        self.generation = b""
        self._seals = seals
        self._has_key = bool(seals)
        self._version = version
        self._shas: dict[str, str] = {}

    async def load(self, commands: Commands) -> None:
        """Have Redis know all scripts."""
        for name in SCRIPTS:
            (self._shas[name],) = await commands.execute([("SCRIPT", "LOAD", read_script(name))])

    def join(self, seq: int) -> Words:
        """Join the hubs.

        Args:
            seq: The last decision that this hub knows.
        """
        # In the order in which the script tells of them: stamps have to grow.
        removal = self._sign_removal(self.hub)
        coming = self._seals.sign_once("came", self.hub)
        return self._call(
            "join", self.hub, _LEASE_MILLISECONDS, seq, removal, coming, self._version
        )

    def dump(self) -> Words:
        """Tell all that the registry knows."""
        return self._call("dump")

    def beat(self) -> Words:
        """Give a sign of life, and hear who gives none."""
        return self._call(
            "beat", self.hub, self.generation, _LEASE_MILLISECONDS, int(self._has_key)
        )

    def remove(self, hub: str) -> Words:
        """Remove a hub that gives no sign of life."""
        return self._call("remove", self.hub, self.generation, hub, self._sign_removal(hub))

    def leave(self) -> Words:
        """Leave the hubs."""
        return self._call("leave", self.hub, self._sign_removal(self.hub))

    def claim(self, namespace: str, claim: Claim) -> Words:
        """Make a peer master of a room."""
        field, group = write_field(namespace, claim.room), str(claim.declared["group"])
        place = master_place(field, self.hub, claim.sid, group)
        return self._call(
            "claim",
            self.hub,
            self.generation,
            field,
            claim.sid,
            group,
            self._seals.sign("master", place, write_entry(claim)),
            "1" if claim.reclaiming else "0",
            claim.epoch,
            self._seals.sign_once("room", f"{self.hub}\n{field}"),
        )

    def release(self, namespace: str, release: Release) -> Words:
        """Make a peer master of a room no longer."""
        field = write_field(namespace, release.room)
        seal = self._seals.sign_once("room", f"{self.hub}\n{field}")
        return self._call("release", self.hub, self.generation, field, release.sid, seal)

    def retain(self, namespace: str, effect: Retain) -> Words:
        """Decide that a value is the last one of its event."""
        value = effect.value
        field = write_field(namespace, f"{effect.room}\n{effect.event}")
        entry = self._seals.sign("value", field, write_value(value, is_quiet=effect.is_quiet))
        seal = b""
        if self._has_key:
            seal = self._seals.sign_once("value", value_place(self.hub, field, entry.decode()))
        return self._call(
            "retain",
            self.hub,
            self.generation,
            field,
            entry,
            "1" if value.data is None else "0",
            0 if value.is_pending else value.position,
            seal,
        )

    def append(self, namespace: str, room: str, words: Words) -> Words:
        """Put what is said in a room into its log, with what the script is told besides."""
        return self._call("append", self.hub, self.generation, write_field(namespace, room), *words)

    def _sign_removal(self, hub: str) -> bytes:
        return self._seals.sign_once("gone", f"{self.hub}\n{hub}")

    def _call(self, name: str, *arguments: Any) -> Words:
        return ("EVALSHA", self._shas[name], 1, self.prefix, *arguments)


@functools.cache
def read_script(name: str) -> str:
    """Read a script from the package."""
    folder = importlib.resources.files("alephscript.hub.cluster")
    return "".join(
        folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in ("common", name)
    )

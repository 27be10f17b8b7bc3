"""What a mesh decides, shown line by line: see `alephscript.diagnostics.debugging`.

May go in: a mesh that prints what passes. May not: anything that changes what passes.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from alephscript.diagnostics import debugging
from alephscript.errors import RequestError

if TYPE_CHECKING:
    from alephscript.mesh.mesh import Mesh

__all__ = ["watched_mesh"]

_SECRET = frozenset({"engine_id", "identity"})
"""What an input says about who comes; who it is shows when it registers."""


def watched_mesh(mesh: Mesh) -> Mesh:
    """A mesh that shows what it decides, if that is to be shown."""
    wanted = debugging.topics()
    if "routing" not in wanted:
        return mesh
    return cast("Mesh", _WatchedMachine(mesh, mesh, payloads="payloads" in wanted))


class _WatchedMachine:
    """A mesh, or what it is to other hubs, from outside: what returns effects is an input.

    A stand-in, since what a machine does by its own inputs is no input.
    """

    def __init__(self, machine: Any, mesh: Mesh, *, payloads: bool) -> None:
        self._machine = machine
        self._mesh = mesh
        self._payloads = payloads
        self._print = debugging.printer("routing")

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._machine, name)
        if not inspect.ismethod(found):
            return found
        signature = inspect.signature(found)
        if signature.return_annotation == "list[Effect]":
            return functools.partial(self._run, found, signature)
        if signature.return_annotation == "Federation":
            return lambda *args: _WatchedMachine(found(*args), self._mesh, payloads=self._payloads)
        return found

    def _run(
        self,
        method: Callable[..., list[Any]],
        signature: inspect.Signature,
        *args: Any,
        **kwargs: Any,
    ) -> list[Any]:
        fields = signature.bind(*args, **kwargs).arguments
        comes = fields.get("sid") not in self._mesh.rooms.peers
        said = self._told(fields)
        effects = method(*args, **kwargs)
        # Whoever comes is known afterwards, whoever leaves is known before.
        self._put(debugging.IN, method.__name__, self._told(fields) if comes else said)
        for effect in effects:
            self._put(
                debugging.OUT, type(effect).__name__, self._told(msgspec.structs.asdict(effect))
            )
        return effects

    def _put(self, arrow: str, what: str, told: str) -> None:
        self._print(arrow, f"{self._mesh.namespace} {arrow} {what} {told}".rstrip())

    def _told(self, fields: Mapping[str, Any]) -> str:
        return " ".join(
            self._value(field, value)
            for field, value in fields.items()
            if not (field in _SECRET or value is None or value is False or value in ((), []))
        )

    def _value(self, field: str, value: Any) -> str:
        if field == "seconds":
            return f"{value:g} s"
        if isinstance(value, RequestError):
            return value.code
        if isinstance(value, str):
            return self._name(value)
        if field == "to":
            return ",".join(map(self._name, value))
        if isinstance(value, int):
            return f"{field} {value}"
        if not self._payloads:
            return "…"
        return debugging.printable(msgspec.json.encode(value, enc_hook=str).decode(), None)

    def _name(self, text: str) -> str:
        """A socket id, as whose it is; other text as it is."""
        peer = self._mesh.rooms.peers.get(text)
        if peer is None:
            return debugging.printable(text)
        return debugging.printable(peer.name if peer.registration else peer.engine_id[:8])

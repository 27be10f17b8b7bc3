"""A test kit for projects that subclass `alephscript.AlephScriptClient`.

`InMemoryMesh`, `HubMesh` and `SimulatedMesh` take the place of the hub's address: the first is the
hub's own mesh without sockets, the second a hub on a free port, the third the first on virtual
time, with deliveries that a seed draws. All can be given faults (`FaultInjector`). All make an
`Observer`, whose expectations fail with what did happen.

With pytest nothing has to be imported: the fixtures ``mesh`` (in memory, with ``--mesh=real`` on a
hub, with ``--mesh=sim`` simulated) and ``mesh_hub`` (always on a hub) are there wherever
alephscript is installed.

::

    async def test_it_greets(mesh):
        async with Greeter(mesh), mesh.observer("LOBBY") as observer:
            await observer.client.request("GREET", {"who": "Ada"})
            await observer.expect("GREETED", who="Ada", within=1)

May go in: what takes a hub's place, watches or disturbs one. May not: tests of this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alephscript.testing.chaos import Chaos
    from alephscript.testing.faults import FaultInjector
    from alephscript.testing.memory import InMemoryMesh
    from alephscript.testing.observing import Observer
    from alephscript.testing.real import HubMesh
    from alephscript.testing.simulated import SimulatedMesh, simulate
    from alephscript.testing.trace import Trace

__all__ = [
    "Chaos",
    "FaultInjector",
    "HubMesh",
    "InMemoryMesh",
    "Observer",
    "SimulatedMesh",
    "Trace",
    "simulate",
]

_HOMES = {
    "HubMesh": "real",
    "InMemoryMesh": "memory",
    "FaultInjector": "faults",
    "Chaos": "chaos",
    "Observer": "observing",
    "Trace": "trace",
    "SimulatedMesh": "simulated",
    "simulate": "simulated",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: the pytest plugin is in this package, and every run loads it.
    if name not in _HOMES:
        raise AttributeError(name)
    import importlib

    return getattr(importlib.import_module(f"alephscript.testing.{_HOMES[name]}"), name)

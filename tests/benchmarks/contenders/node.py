"""socket.io and socket.io-client on Node: tests/node/bench_socketio.mjs."""

from __future__ import annotations

from tests.benchmarks import work
from tests.benchmarks.contenders import NODE_PEERS, Options, which

_PROGRAM = NODE_PEERS / "bench_socketio.mjs"


def hub(port: int, options: Options) -> list[str]:
    """See `tests.benchmarks.contenders`."""
    return clients("hub", port, options)


def clients(role: str, port: int, options: Options) -> list[str]:
    """See `tests.benchmarks.contenders`."""
    return [which("node") or "node", str(_PROGRAM), role, work.HOST, str(port)]

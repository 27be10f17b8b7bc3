"""``alephscript hub``: run a hub.

May go in: options, and what `Hub` is made of them. May not: several processes (`workers`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import os
import signal
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import msgspec

from alephscript.cli import workers
from alephscript.cli.options import Add, CliError
from alephscript.client import loops
from alephscript.hub import Hub
from alephscript.hub.store.store import KEEP_SECONDS
from alephscript.hub.workers.worker import Worker
from alephscript.mesh.access import Access, RoomSecrets, SharedToken
from alephscript.mesh.limits import Limits

__all__ = ["add_to"]

_DRAIN_SECONDS = 10.0
"""How long open requests may take after a SIGTERM."""

_MOST_WORKERS = 256
"""More processes than any machine has use for; a slip of the keyboard is not to start thousands."""

_LIMITS: dict[str, Callable[[str], float]] = {
    field.name: float if str(field.type) == "float" else int for field in attrs.fields(Limits)
}


def add_to(add: Add) -> None:
    """Add the command."""
    hub = add("hub", "run a hub until interrupted", _hub)
    hub.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    hub.add_argument("--port", type=int, default=3010, help="port, 0 for a free one (%(default)s)")
    who = hub.add_argument_group("who may come in")
    who.add_argument(
        "--token",
        metavar="SECRET",
        help="shared secret that clients must present; prefer ALEPHSCRIPT_TOKEN, which ps does "
        "not show",
    )
    who.add_argument(
        "--room-secrets",
        metavar="FILE",
        help='one secret a room: JSON {"ROOM": "SECRET"}; each opens its room only',
    )
    who.add_argument(
        "--jwt-key",
        metavar="FILE",
        help="accept JSON Web Tokens signed with the key in FILE (a shared secret, or a public key "
        "in PEM)",
    )
    who.add_argument(
        "--jwt-algorithm",
        metavar="NAME",
        default="HS256",
        help="their algorithm (%(default)s)",
    )
    who.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="URL",
        help="let pages of this origin connect, too; * for any",
    )
    who.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer to this name, too; for a hub on loopback behind a proxy",
    )
    who.add_argument("--tls-cert", metavar="FILE", help="serve TLS with this certificate, in PEM")
    who.add_argument(
        "--tls-key", metavar="FILE", help="key of the certificate; by default in the same file"
    )
    hub.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="processes on the same port; needs --redis (%(default)s)",
    )
    hub.add_argument("--worker", nargs=2, metavar=("FOLDER", "NUMBER"), help=argparse.SUPPRESS)
    hub.add_argument(
        "--redis",
        metavar="URL",
        help="be one of several hubs, which share this Redis, or the cluster that it is a node of: "
        "redis://127.0.0.1:6379/0",
    )
    hub.add_argument(
        "--cluster-key",
        metavar="FILE",
        help="sign what hubs write to each other with the first key in FILE, and refuse what none "
        "of its keys (one a line) has signed; else ALEPHSCRIPT_CLUSTER_KEY",
    )
    hub.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=N",
        type=_limit,
        help=f"how much one client may take: {', '.join(_LIMITS)}",
    )
    who.add_argument(
        "--insecure",
        action="store_true",
        help="listen beyond loopback although no client has to prove who it is",
    )
    hub.add_argument(
        "--history",
        type=int,
        default=0,
        metavar="N",
        help="keep N events of each room for clients that were away for a moment (%(default)s)",
    )
    hub.add_argument(
        "--retain",
        action="append",
        default=[],
        metavar="ROOM:EVENT",
        help="keep the last one for those who subscribe later, though its sender does not ask for "
        "that; * as event for all",
    )
    hub.add_argument(
        "--data",
        metavar="DIR",
        help="keep tasks, retained values and logs in this folder, so that they outlive the "
        "hub; else in memory, or in Redis",
    )
    hub.add_argument(
        "--keep-tasks",
        type=float,
        default=KEEP_SECONDS,
        metavar="SECONDS",
        help="how long tasks that have ended are kept (a day)",
    )
    hub.add_argument(
        "--log",
        action="append",
        default=[],
        metavar="ROOM",
        help="keep all that members say in this room, to be heard again; * for all",
    )
    hub.add_argument(
        "--log-keep", default="7d", metavar="7d", help="how long that is kept (%(default)s)"
    )
    hub.add_argument(
        "--log-bytes",
        metavar="1G",
        help="how much of it is kept, of all rooms (1G; in memory 64M)",
    )
    hub.add_argument(
        "--admin-ui",
        metavar="DIR",
        help="serve the installed @socket.io/admin-ui under /admin-ui",
    )
    hub.add_argument(
        "--no-mesh-page", action="store_true", help="do not serve the page that shows the mesh at /"
    )


def _workers(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= (count := int(text[:9])) <= _MOST_WORKERS:
        return count
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_WORKERS}")


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    kind = _LIMITS.get(name)
    number = 0.0
    if kind is not None:
        with contextlib.suppress(ValueError):
            number = kind(value)
    if number <= 0:
        names = ", ".join(_LIMITS)
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=N; NAME is one of {names}, N more than 0"
        )
    return name, number


def _access(options: argparse.Namespace) -> Access | None:
    """Make the rule for who may come in; None if the options name none.

    Raises:
        CliError: The options contradict each other, or a file cannot be read.
    """
    given = [options.token, options.room_secrets, options.jwt_key]
    if sum(each is not None for each in given) > 1:
        raise CliError("choose one of --token, --room-secrets and --jwt-key")
    token = options.token
    if all(each is None for each in given):
        token = os.environ.get("ALEPHSCRIPT_TOKEN")
    try:
        if token is not None:
            return SharedToken(token)
        if options.room_secrets is not None:
            return RoomSecrets(_secrets(Path(options.room_secrets)))
        if options.jwt_key is not None:
            from alephscript.hub.tokens import JsonWebToken

            key = Path(options.jwt_key).read_text(encoding="utf-8").strip()
            return JsonWebToken(key, algorithms=[options.jwt_algorithm])
    except (OSError, ValueError) as exc:
        raise CliError(str(exc)) from exc
    except ModuleNotFoundError as exc:
        raise CliError("tokens need PyJWT: pip install 'alephscript[jwt]'") from exc
    return None


def _secrets(file: Path) -> dict[str, str]:
    """Read the secrets in a file, by room.

    Raises:
        ValueError: The file holds no such secrets.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except msgspec.DecodeError as exc:
        raise ValueError(f'{file} is no JSON {{"ROOM": "SECRET"}}: {exc}') from exc


def _cluster_key(options: argparse.Namespace) -> str | None:
    """Return the file with the key of these hubs; the environment means hubs with a Redis alone."""
    if options.cluster_key is None and options.redis is not None:
        return os.environ.get("ALEPHSCRIPT_CLUSTER_KEY") or None
    file: str | None = options.cluster_key
    return file


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        if options.tls_key is not None:
            raise CliError("--tls-key needs --tls-cert")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except OSError as exc:
        raise CliError(f"cannot use {options.tls_cert}: {exc}") from exc
    return context


async def _hub(options: argparse.Namespace) -> None:
    if options.workers > 1 and options.worker is None:
        if options.redis is None:
            raise CliError("--workers needs --redis: without it each process would be another mesh")
        if options.data is not None:
            raise CliError("--data is of one process; several workers keep tasks in Redis")
    make_hub: Callable[..., Hub] = Hub
    if options.worker is not None:
        folder, number = options.worker
        make_hub = functools.partial(Worker, Path(folder), int(number), options.workers)
    hub = make_hub(
        host=options.host,
        port=options.port,
        access=_access(options),
        insecure=options.insecure,
        tls=_tls(options),
        cors_origins=options.cors_origin,
        allowed_hosts=options.allowed_host,
        limits=Limits(**dict(options.limit)),
        # What is encrypted does not tell to which worker it belongs.
        polling=options.worker is None or options.tls_cert is None,
        redis=options.redis,
        cluster_key=_cluster_key(options),
        history=options.history,
        retain=options.retain,
        data=options.data,
        keep_tasks=options.keep_tasks,
        log=options.log,
        log_keep=options.log_keep,
        log_bytes=options.log_bytes,
        admin_ui=options.admin_ui,
        mesh_page=not options.no_mesh_page,
    )
    if options.workers > 1 and options.worker is None:
        # Only now: what no worker could be with is said once, and not by each of them.
        scheme = "http" if options.tls_cert is None else "https"
        await workers.run(options.workers, options.host, options.port, scheme)
        return
    this = asyncio.current_task()
    assert this is not None
    draining: set[asyncio.Future[None]] = set()

    def drain() -> None:
        draining.add(asyncio.ensure_future(hub.drain(_DRAIN_SECONDS)))

    loops.listen(signal.SIGINT, this.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        async with hub:
            loops.listen(signal.SIGTERM, drain)
            if options.worker is not None:
                workers.outlive_nobody(drain)
            print(f"alephscript hub listening on {hub.url}", file=sys.stderr, flush=True)
            await hub.serve_forever()

"""A hub's membership of the hubs that share a Redis: made by its options, and begun.

May go in: what a hub has where there is a Redis, and why it cannot join. May not: what becomes of
it (`cluster`, `redis`, `store`).
"""

from __future__ import annotations

from pathlib import Path

from alephscript.hub.cluster.addresses import show_address
from alephscript.hub.cluster.cluster import Cluster
from alephscript.hub.cluster.redis import RedisRegistry
from alephscript.hub.cluster.signing import Seals, read_keys
from alephscript.hub.engine import Engine
from alephscript.hub.options import HubError, LogOptions
from alephscript.hub.store.logs import LOG_BYTES
from alephscript.hub.store.redis import RedisStore
from alephscript.hub.store.redis_log import RedisLog

__all__ = ["Membership"]


class Membership:
    """Registry, journal of tasks and log of rooms in a Redis, for one hub.

    Args:
        engine: The hub's connections and meshes; no client is connected yet.
        url: The Redis's address.
        cluster_key: File with the keys that the hubs share; None leaves all unsigned.
        keep_tasks: Seconds that tasks which have ended are kept.
        log: The log of rooms.

    Attributes:
        cluster: The hub as one of several.

    Raises:
        HubError: The address is none, or the file holds no keys.
    """

    def __init__(
        self,
        engine: Engine,
        url: str,
        *,
        cluster_key: Path | str | None,
        keep_tasks: float,
        log: LogOptions,
    ) -> None:
        self._url = url
        try:
            keys = [] if cluster_key is None else read_keys(Path(cluster_key))
        except (OSError, ValueError) as exc:
            raise HubError(f"cluster_key=… (--cluster-key): {exc}") from None
        try:
            version = engine.about()["version"]
            registry = RedisRegistry(url, seals=Seals(keys), version=version, log=log.rooms)
            self.cluster = Cluster(engine, registry)
            store = RedisStore(url, keep_seconds=keep_tasks, seals=Seals(keys))
            store.refuse = self.cluster.refuse
            engine.share_store(store, self.cluster.hub)
            if log.rooms:
                room_log = RedisLog(
                    url,
                    registry.append,
                    self.cluster.hub,
                    seals=Seals(keys),
                    keep_seconds=log.seconds,
                    keep_bytes=log.size or LOG_BYTES,
                )
                engine.use_log(room_log)
                self.cluster.rejoined = room_log.resume
        except ValueError:
            # Without its text, which quotes parts of the address.
            raise HubError(
                f"{show_address(url) or 'redis=… (--redis)'} is no address of a Redis; write "
                "redis://127.0.0.1:6379/0, and in a password % / ? # @ : as %25 %2F %3F %23 "
                "%40 %3A"
            ) from None

    async def begin(self) -> None:
        """Join the other hubs.

        Raises:
            HubError: Redis cannot be reached.
        """
        try:
            await self.cluster.open()
        except OSError as exc:
            shown = show_address(self._url)
            where = "the given address" if shown is None else f"{shown}: {exc}"
            raise HubError(
                f"cannot reach Redis at {where}; start one there, or leave redis=… (--redis) out "
                "to run one hub alone"
            ) from None

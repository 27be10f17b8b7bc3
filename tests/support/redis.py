"""Redis servers: one that a session of tests shares, and ones that a test may kill."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from tests.support.processes import choose_port
from tests.support.tools import skip_for_lack_of


class RedisServer:
    """A redis-server on a port of its own, to be killed, stalled and started again."""

    def __init__(self, program: str, folder: str) -> None:
        self.port = choose_port()
        self._command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder),
            *("--save", "", "--appendonly", "no"),
        ]
        self._databases = itertools.cycle(range(16))
        self._process: subprocess.Popen[bytes] | None = None

    def url(self) -> str:
        """Return the address of an empty database that no other test uses just now."""
        database = next(self._databases)
        url = f"redis://127.0.0.1:{self.port}/{database}"
        self.command("-n", str(database), "flushdb")
        return url

    def command(self, *words: str) -> str:
        """Run redis-cli, and return its output."""
        arguments = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()

    def start(self) -> None:
        """Start the server, without data."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise AssertionError("redis-server ended before it was ready")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the server, as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="session")
def redis_program() -> str:
    """Find redis-server, or skip the test; in CI, fail."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    return program or skip_for_lack_of("redis-server (apt-get install redis-server)")


@pytest.fixture(scope="session")
def shared_redis(redis_program: str) -> Iterator[RedisServer]:
    """Start a Redis for all tests that neither stop nor fill it."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(redis_program, folder)
        server.start()
        yield server
        server.kill()


@pytest.fixture
def own_redis(redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """Start a Redis for one test, which may stop it."""
    server = RedisServer(redis_program, str(tmp_path))
    server.start()
    yield server
    server.kill()


class RedisClusterNode(RedisServer):
    """A redis-server that is a node of a cluster, and keeps its place when it is started again."""

    def __init__(self, program: str, folder: str) -> None:
        super().__init__(program, folder)
        self.bus = choose_port()
        self._command += [
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus)),
            *("--cluster-config-file", f"nodes-{self.port}.conf", "--cluster-node-timeout", "1000"),
            *("--cluster-require-full-coverage", "no"),
        ]


class RedisCluster:
    """Three nodes on loopback, each with a third of the slots."""

    def __init__(self, program: str, folder: str) -> None:
        self._program, self._folder = program, folder
        self.nodes = [RedisClusterNode(program, folder) for _ in range(3)]
        self._replicas: list[RedisClusterNode] = []
        self._moved: dict[str, RedisClusterNode] = {}
        for node in self.nodes:
            node.start()
        bounds = ((0, 5460), (5461, 10922), (10923, 16383))
        first = self.nodes[0]
        for node, (low, high) in zip(self.nodes, bounds, strict=True):
            node.command("cluster", "addslotsrange", str(low), str(high))
            meet = ("cluster", "meet", "127.0.0.1", str(node.port), str(node.bus))
            first.command(*meet)
        self._wait()

    def _wait(self) -> None:
        """Wait until all nodes know all others."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            known = [node.command("cluster", "info") for node in self.nodes]
            slots = [node.command("cluster", "slots") for node in self.nodes]
            if all("cluster_state:ok" in each for each in known) and all(
                str(node.port) in each for node in self.nodes for each in slots
            ):
                return
            time.sleep(0.05)
        raise AssertionError("the nodes have not found each other")

    @property
    def url(self) -> str:
        """The address of one of them."""
        return f"redis://127.0.0.1:{self.nodes[0].port}/0"

    def node_of(self, name: str) -> RedisClusterNode:
        """Find the node that has a key or a channel."""
        return self.nodes[min(key_slot(name.encode()) // 5461, 2)]

    def move(self, name: str, to: RedisClusterNode) -> None:
        """Move the slot of a name, and the keys in it, to another node."""
        slot, owner = str(key_slot(name.encode())), to.command("cluster", "myid")
        before = self._moved.get(slot, self.node_of(name))
        to.command("cluster", "setslot", slot, "importing", before.command("cluster", "myid"))
        before.command("cluster", "setslot", slot, "migrating", owner)
        with redis.Redis(port=before.port) as client:  # redis-cli splits names at ends of lines
            while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                for key in keys:
                    client.execute_command("MIGRATE", "127.0.0.1", to.port, key, 0, 5000)
        for node in (to, before, *(each for each in self.nodes if each not in {to, before})):
            node.command("cluster", "setslot", slot, "node", owner)
        self._moved[slot] = to

    def add_replica(self, of: RedisClusterNode) -> RedisClusterNode:
        """Start a node that has what another one has, and takes over when that is lost."""
        replica = RedisClusterNode(self._program, self._folder)
        self._replicas.append(replica)
        replica.start()
        replica.command("cluster", "meet", "127.0.0.1", str(of.port), str(of.bus))
        name = of.command("cluster", "myid")
        until = time.monotonic() + 20
        while time.monotonic() < until:
            known = replica.command("cluster", "nodes")
            if name in known and replica.command("cluster", "replicate", name) == "OK":
                break
            time.sleep(0.05)
        while time.monotonic() < until:
            # Each of the others has to know it, to vote for it.
            nodes = [node.command("cluster", "replicas", name) for node in self.nodes]
            linked = "master_link_status:up" in replica.command("info", "replication")
            if linked and all(str(replica.port) in each for each in nodes):
                return replica
            time.sleep(0.05)
        raise AssertionError("the replica has not found its node")

    def kill(self) -> None:
        """Kill all nodes."""
        for node in (*self.nodes, *self._replicas):
            node.kill()


@pytest.fixture
def redis_cluster(redis_program: str, tmp_path: Path) -> Iterator[RedisCluster]:
    """Start a Redis Cluster of three nodes for one test, which may stop them."""
    cluster = RedisCluster(redis_program, str(tmp_path))
    yield cluster
    cluster.kill()

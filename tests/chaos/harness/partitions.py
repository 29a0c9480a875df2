"""A cluster of RabbitMQ whose nodes reach each other through proxies, so that the links of one node can be cut.

Each node has an epmd of its own, which is part of this process: it names the port of a proxy for each other node.
"""

import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

from harness.proxy import Proxy

from framework.testing.rabbitmq import RabbitMQ
from framework.testing.rabbitmq_cluster import Cluster

#: Seconds within which a node takes a silent one for gone (Erlang's default is 60; a quarter more or less).
TICK_SECONDS = 8
#: Requests and replies of epmd: https://www.erlang.org/doc/apps/erts/erl_dist_protocol
REGISTER, LOOK_UP, NAMES = 120, 122, 110
REGISTERED, FOUND = 118, 119


class Links:
    """The proxies between the nodes, and the nodes' epmds."""

    def __init__(self) -> None:
        #: The port of each registered name, and the rest of its registration, which a reply repeats.
        self.names: dict[str, tuple[int, bytes]] = {}
        #: A number for each registration, which tells the processes of a node from those before its restart.
        self.creations = count(4)
        self._proxies: dict[tuple[str, str], Proxy] = {}
        self._ports: dict[str, int] = {}
        self._cut: set[str] = set()
        self._lock = threading.Lock()
        self._cleanup = ExitStack()

    def add(self, node: str, port: int) -> int:
        """Add a node with its distribution port; return the port of its epmd."""
        self._ports[node] = port
        epmd = Epmd(node, self)
        threading.Thread(target=epmd.serve_forever, daemon=True).start()
        self._cleanup.callback(epmd.server_close)
        self._cleanup.callback(epmd.shutdown)
        return int(epmd.server_address[1])

    def port(self, node: str, peer: str, direct: int) -> int:
        """Return the port on which ``node`` reaches ``peer``: a proxy's, or for itself and commands ``direct``."""
        if peer == node or peer not in self._ports:
            return direct
        with self._lock:
            if (node, peer) not in self._proxies:
                proxy = self._proxies[node, peer] = self._cleanup.enter_context(Proxy(self._ports[peer]))
                if self._cut & {node, peer}:
                    proxy.silence()
            return self._proxies[node, peer].port

    def cut(self, node: str) -> None:
        """Let nothing through between a node and the others, as a switch that lost its power: no connection closes."""
        with self._lock:
            self._cut.add(node)
            for proxy in self._of(node):
                proxy.silence()

    def heal(self, node: str) -> None:
        """Let everything through again, first what was held back."""
        with self._lock:
            self._cut.discard(node)
            for proxy in self._of(node):
                proxy.resume()

    def close(self) -> None:
        self._cleanup.close()

    def _of(self, node: str) -> list[Proxy]:
        return [proxy for ends, proxy in self._proxies.items() if node in ends]


class Epmd(socketserver.ThreadingTCPServer):
    """The names of one node's machine, as that node is to see them."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, node: str, links: Links) -> None:
        super().__init__(("127.0.0.1", 0), EpmdRequest)
        self.node = node
        self.links = links


class EpmdRequest(socketserver.StreamRequestHandler):
    """One request; a registration lasts as long as its connection."""

    server: Epmd

    def handle(self) -> None:
        (length,) = struct.unpack("!H", self.rfile.read(2))
        request = self.rfile.read(length)
        {REGISTER: self._register, LOOK_UP: self._look_up, NAMES: self._names}[request[0]](request[1:])

    def _register(self, request: bytes) -> None:
        (port,) = struct.unpack("!H", request[:2])
        (size,) = struct.unpack("!H", request[8:10])
        name = request[10 : 10 + size].decode()
        names = self.server.links.names
        names[name] = (port, request[2:])
        self.wfile.write(struct.pack("!BBI", REGISTERED, 0, next(self.server.links.creations)))
        self.rfile.read(1)
        names.pop(name, None)

    def _look_up(self, request: bytes) -> None:
        name = request.decode()
        found = self.server.links.names.get(name)
        if found is None:
            self.wfile.write(struct.pack("!BB", FOUND, 1))
            return
        port = self.server.links.port(self.server.node, name, found[0])
        self.wfile.write(struct.pack("!BBH", FOUND, 0, port) + found[1])

    def _names(self, _request: bytes) -> None:
        known = "".join(f"name {name} at port {port}\n" for name, (port, _) in list(self.server.links.names.items()))
        self.wfile.write(struct.pack("!I", self.server.server_address[1]) + known.encode())


class LinkedNode(RabbitMQ):
    """A node that reaches the others through proxies."""

    links: Links

    def _prepare(self) -> None:
        super()._prepare()
        port = int(self._environment["RABBITMQ_DIST_PORT"])
        self._environment["ERL_EPMD_PORT"] = str(self.links.add(self.name.partition("@")[0], port))
        self._environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] += f" -kernel net_ticktime {TICK_SECONDS}"


class PartitionedCluster(Cluster):
    """Three nodes, of which one can be cut off from the others.

    Args:
        handling: the value of RabbitMQ's ``cluster_partition_handling``.
        release: a release that `framework.testing.rabbitmq_releases.install` installed; by default this machine's.
    """

    def __init__(self, handling: str, release: str | None = None) -> None:
        self.handling = handling
        self.release = release
        self._links = Links()
        super().__init__(config=f"cluster_partition_handling = {handling}\n")

    def _node(self, config: str, name: str, beside: RabbitMQ | None) -> RabbitMQ:
        node = LinkedNode(config, name=name, beside=beside, release=self.release)
        node.links = self._links
        return node

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        self._links.close()

    @contextmanager
    def without(self, node: RabbitMQ) -> Iterator[None]:
        """Cut ``node`` off from the others inside the ``with``. Clients reach all of them all the time."""
        name = node.name.partition("@")[0]
        self._links.cut(name)
        try:
            yield
        finally:
            self._links.heal(name)

    def reconcile(self, node: RabbitMQ) -> None:
        """Restart a node that was cut off, where nodes that lost each other disagree until one side is restarted."""
        if self.handling == "ignore":
            time.sleep(TICK_SECONDS)
            node.stop()
            node.start(120)

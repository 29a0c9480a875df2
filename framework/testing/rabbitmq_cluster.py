"""Starts a cluster of private RabbitMQ nodes, for tests in which nodes die."""

from contextlib import ExitStack
from typing import Self

from framework.errors import RabbitMQFailed
from framework.testing.rabbitmq import RabbitMQ

__all__ = ["Cluster"]

CONFIG = "cluster_formation.peer_discovery_backend = classic_config\n"


class Cluster:
    """A cluster of RabbitMQ nodes that runs inside ``with``.

    Each of ``nodes`` is a `framework.testing.rabbitmq.RabbitMQ` that can be killed and started again.

    Args:
        size: How many nodes; a majority of them must run for quorum queues to work.
        config: Lines for the ``rabbitmq.conf`` of each.

    Raises:
        RabbitMQMissing: The server is not installed.
        RabbitMQFailed: A node did not start.
    """

    def __init__(self, size: int = 3, config: str = "") -> None:
        self.nodes: list[RabbitMQ] = []
        for number in range(1, size + 1):
            # Each node looks for the nodes before it, so the first starts without waiting.
            found = (f"cluster_formation.classic_config.nodes.{n} = test{n}@localhost" for n in range(1, number + 1))
            first = self.nodes[0] if self.nodes else None
            self.nodes.append(self._node(CONFIG + config + "\n".join(found), f"test{number}", first))
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for node in self.nodes:
                undo.enter_context(node)
            self._cleanup = undo.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._cleanup.close()

    @property
    def url(self) -> str:
        """The URLs of all nodes in one string; a client connects to the next when one is down."""
        return ";".join(node.url for node in self.nodes)

    def vhost(self) -> str:
        """Make an empty virtual host, and return its URLs as in `url`."""
        name = self._running_node().vhost().rpartition("/")[2]
        return ";".join(node.url.removesuffix("/") + name for node in self.nodes)

    def leader(self, queue: str, url: str) -> RabbitMQ:
        """Return the node that leads a quorum queue.

        Args:
            queue: The queue's name.
            url: The value of `url`, or the result of `vhost`.

        Raises:
            RabbitMQFailed: The queue does not exist, or has no leader.
        """
        vhost = url.rpartition("/")[2] or "/"
        output = self._running_node().ctl("list_queues", "--vhost", vhost, "name", "leader")
        leaders = dict(line.split("\t", 1) for line in output.splitlines() if "\t" in line)
        for node in self.nodes:
            if leaders.get(queue) == node.name:
                return node
        raise RabbitMQFailed.at(f"The queue {queue} has no leader", output)

    def _node(self, config: str, name: str, beside: RabbitMQ | None) -> RabbitMQ:
        return RabbitMQ(config, name=name, beside=beside)

    def _running_node(self) -> RabbitMQ:
        return next((node for node in self.nodes if node.running), self.nodes[0])

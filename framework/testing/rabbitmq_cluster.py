"""Private RabbitMQ nodes that are one cluster, for tests of what happens when one of them dies."""

from contextlib import ExitStack
from typing import Self

from framework.errors import RabbitMQFailed
from framework.testing.rabbitmq import RabbitMQ

__all__ = ["Cluster"]

CONFIG = "cluster_formation.peer_discovery_backend = classic_config\n"


class Cluster:
    """A cluster of RabbitMQ nodes: it runs inside the ``with`` and is gone after it.

    Each of ``nodes`` is a `framework.testing.rabbitmq.RabbitMQ` that can be killed and started again by itself.

    Args:
        size: How many nodes; a majority of them must live for quorum queues to work.

    Raises:
        RabbitMQMissing: The server is not installed.
        RabbitMQFailed: A node did not start.
    """

    def __init__(self, size: int = 3) -> None:
        self.nodes: list[RabbitMQ] = []
        for number in range(1, size + 1):
            # Each looks for those before it alone, so the first need not wait for anybody.
            found = (f"cluster_formation.classic_config.nodes.{n} = test{n}@localhost" for n in range(1, number + 1))
            first = self.nodes[0] if self.nodes else None
            self.nodes.append(RabbitMQ(CONFIG + "\n".join(found), name=f"test{number}", beside=first))
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
        """The URLs of all nodes, as Celery and kombu take them; a client goes to the next when one is down."""
        return ";".join(node.url for node in self.nodes)

    def vhost(self) -> str:
        """The URLs of a new, empty virtual host, as in `url`."""
        name = self._a_living_node().vhost().rpartition("/")[2]
        return ";".join(node.url.removesuffix("/") + name for node in self.nodes)

    def leader(self, queue: str, url: str) -> RabbitMQ:
        """The node that leads a quorum queue.

        Args:
            queue: Its name.
            url: What `url` or `vhost` gave.

        Raises:
            RabbitMQFailed: There is no such queue, or it has no leader.
        """
        vhost = url.rpartition("/")[2] or "/"
        said = self._a_living_node().ctl("list_queues", "--vhost", vhost, "name", "leader")
        leaders = dict(line.split("\t", 1) for line in said.splitlines() if "\t" in line)
        for node in self.nodes:
            if leaders.get(queue) == node.name:
                return node
        raise RabbitMQFailed.at(f"The queue {queue} has no leader", said)

    def _a_living_node(self) -> RabbitMQ:
        return next((node for node in self.nodes if node.running), self.nodes[0])

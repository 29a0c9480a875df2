"""The declared queues, exchanges and bindings, cached per connection, and the routing of messages."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from framework.broker.sqlite.amqp_errors import not_found
from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.entities import Exchange, Queue, exchange_from, queue_from

__all__ = ["Topology", "mark_changed", "topic_matches"]


@dataclass(frozen=True)
class Binding:
    """A binding of an exchange."""

    destination: str
    is_queue: bool
    routing_key: str


class Topology:
    """One connection's cache of the declared queues, exchanges and bindings; a change by any process clears it."""

    def __init__(self) -> None:
        self.version = -1
        self._queues: dict[str, Queue | None] = {}
        self._names: dict[int, str] = {}
        self._exchanges: dict[str, Exchange | None] = {}
        self._bindings: dict[str, list[Binding]] = {}
        self._routes: dict[tuple[str, tuple[str, ...]], tuple[Queue, ...]] = {}

    def refresh(self, transaction: Transaction) -> bool:
        """Clear the cache if it is out of date; return whether it was."""
        version = transaction.value("select version from topology")
        if version == self.version:
            return False
        self.version = version
        for known in (self._queues, self._names, self._exchanges, self._bindings, self._routes):
            known.clear()
        return True

    def queue(self, transaction: Transaction, name: str) -> Queue | None:
        """Return the queue called ``name``, if it exists."""
        if name not in self._queues:
            row = transaction.execute(
                "select id, name, durable, exclusive, auto_delete, arguments, owner from queue where name = ?", (name,)
            ).fetchone()
            self._queues[name] = row and queue_from(row)
        return self._queues[name]

    def queue_with_id(self, transaction: Transaction, number: int) -> Queue | None:
        """Return the queue with that id, if it still exists."""
        if number not in self._names:
            self._names[number] = transaction.value("select name from queue where id = ?", number) or ""
        return self.queue(transaction, self._names[number])

    def exchange(self, transaction: Transaction, name: str) -> Exchange | None:
        """Return the exchange called ``name``, if it exists."""
        if name not in self._exchanges:
            row = transaction.execute(
                "select name, type, durable, auto_delete, internal, arguments from exchange where name = ?", (name,)
            ).fetchone()
            self._exchanges[name] = row and exchange_from(row)
        return self._exchanges[name]

    def route(self, transaction: Transaction, exchange: str, keys: tuple[str, ...]) -> tuple[Queue, ...]:
        """Return the queues that a message is routed to, each once.

        Raises:
            amqp.exceptions.NotFound: there is no such exchange.
        """
        known = self._routes.get((exchange, keys))
        if known is None:
            if self.exchange(transaction, exchange) is None:
                raise not_found("exchange", exchange)
            if len(self._routes) > 4096:
                self._routes.clear()
            known = self._routes[exchange, keys] = tuple(self._walk(transaction, exchange, keys))
        return known

    def _walk(self, transaction: Transaction, start: str, keys: tuple[str, ...]) -> Iterator[Queue]:
        found: set[str] = set()
        seen = {start}
        pending = [start]
        while pending:
            exchange = self.exchange(transaction, pending.pop())
            if exchange is None:
                continue
            targets = list(self._targets(transaction, exchange, keys))
            for name, is_queue in targets:
                queue = self.queue(transaction, name) if is_queue else None
                if queue is not None and name not in found:
                    found.add(name)
                    yield queue
            further = [name for name, is_queue in targets if not is_queue]
            if not targets and exchange.alternate is not None:
                further.append(exchange.alternate)
            pending += [name for name in further if name not in seen]
            seen.update(further)

    def _targets(
        self, transaction: Transaction, exchange: Exchange, keys: tuple[str, ...]
    ) -> Iterator[tuple[str, bool]]:
        if exchange.name == "":
            yield from ((key, True) for key in keys if self.queue(transaction, key) is not None)
            return
        for binding in self._bindings_of(transaction, exchange.name):
            if any(_matches(exchange.type, binding.routing_key, key) for key in keys):
                yield binding.destination, binding.is_queue

    def _bindings_of(self, transaction: Transaction, exchange: str) -> list[Binding]:
        if exchange not in self._bindings:
            rows = transaction.execute(
                "select destination, is_queue, routing_key from binding where source = ?", (exchange,)
            )
            self._bindings[exchange] = [Binding(name, bool(is_queue), key) for name, is_queue, key in rows]
        return self._bindings[exchange]


def mark_changed(transaction: Transaction) -> None:
    """Make every connection read the topology again."""
    transaction.execute("update topology set version = version + 1")


def _matches(kind: str, pattern: str, key: str) -> bool:
    match kind:
        case "fanout":
            return True
        case "topic":
            return topic_matches(pattern, key)
        case _:
            return pattern == key


@lru_cache(maxsize=4096)
def topic_matches(pattern: str, key: str) -> bool:
    """Return whether a topic binding matches a routing key: ``*`` stands for one word, ``#`` for any number.

    >>> topic_matches("stock.*.nyse", "stock.ibm.nyse"), topic_matches("stock.#", "stock"), topic_matches("*", "a.b")
    (True, True, False)
    """
    return _match(tuple(_words(pattern)), tuple(_words(key)))


def _match(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    # Row by row, as edit distances are computed: a pattern of many "#" takes no longer.
    reached = [True] + [False] * len(words)
    for part in pattern:
        if part == "#":
            first = next((index for index, hit in enumerate(reached) if hit), len(reached))
            reached = [index >= first for index in range(len(reached))]
        else:
            fits = [part in ("*", word) for word in words]
            reached = [False] + [before and fit for before, fit in zip(reached, fits, strict=False)]
    return reached[-1]


def _words(key: str) -> Iterable[str]:
    return key.split(".") if key else ()

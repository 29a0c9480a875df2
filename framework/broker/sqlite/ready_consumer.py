"""Selects the consumer that receives a queue's next message, and assigns the message to it."""

from typing import NamedTuple

from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.entities import Queue

__all__ = ["UNREAD_WINDOW", "ReadyConsumer", "assign", "next_ready_consumer"]


#: The unread messages of a consumer without a prefetch count, beyond which no more are dispatched to it.
UNREAD_WINDOW = 200

_READY = f"""
    select c.id, c.owner from consumer c join channel h on h.id = c.channel
    where case when c.prefetch = 0 then c.unread < {UNREAD_WINDOW} else c.held < c.prefetch end and h.active
    and (h.prefetch = 0 or c.no_ack or h.prefetch > (select sum(held) from consumer where channel = h.id))
    and """  # noqa: S608
_NEXT = _READY + "c.queue = ? order by c.priority desc, c.turn limit 1"
_FIRST = _READY + "c.id = (select min(id) from consumer where queue = ?)"  # noqa: S608


class ReadyConsumer(NamedTuple):
    """A consumer below its prefetch count."""

    consumer: int
    owner: int

    def count_delivery(self, transaction: Transaction) -> tuple[int, int, int]:
        """Count a delivery; return the message's holder, consumer, and its turn among the consumer's messages."""
        turn = transaction.value(
            "update consumer set turn = ?, held = held + 1, handed = handed + 1, unread = unread + (prefetch = 0)"
            " where id = ? returning handed",
            transaction.tick(),
            self.consumer,
        )
        transaction.woken.add(self.owner)
        return self.owner, self.consumer, turn


def next_ready_consumer(transaction: Transaction, queue: Queue) -> ReadyConsumer | None:
    """Return the consumer for a queue's next message; with a single active consumer, only the first can be it."""
    row = transaction.execute(_FIRST if queue.single_active else _NEXT, (queue.id,)).fetchone()
    return row and ReadyConsumer._make(row)


def assign(transaction: Transaction, message_id: int, target: ReadyConsumer) -> None:
    """Dispatch a ready message to a consumer."""
    transaction.execute(
        "update message set holder = ?, consumer = ?, turn = ? where id = ?",
        (*target.count_delivery(transaction), message_id),
    )

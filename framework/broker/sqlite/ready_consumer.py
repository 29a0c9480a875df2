"""Whose turn it is: the consumers that have room, in their order, and how a message is put into their hands."""

from typing import NamedTuple

from framework.broker.sqlite.database import Transaction
from framework.broker.sqlite.entities import Queue

__all__ = ["UNREAD_WINDOW", "ReadyConsumer", "assign", "next_ready_consumer"]


#: How many messages lie unread for a consumer without a prefetch count, before it gets no more.
UNREAD_WINDOW = 200

_READY = f"""
    select c.id, c.owner from consumer c join channel h on h.id = c.channel
    where case when c.prefetch = 0 then c.unread < {UNREAD_WINDOW} else c.held < c.prefetch end and h.active
    and (h.prefetch = 0 or c.no_ack or h.prefetch > (select sum(held) from consumer where channel = h.id))
    and """  # noqa: S608
_NEXT = _READY + "c.queue = ? order by c.priority desc, c.turn limit 1"
_FIRST = _READY + "c.id = (select min(id) from consumer where queue = ?)"  # noqa: S608


class ReadyConsumer(NamedTuple):
    """A consumer that has room."""

    consumer: int
    owner: int

    def hand(self, work: Transaction) -> tuple[int, int, int]:
        """Count a message as handed over: its holder, its consumer, and its turn among the consumer's messages."""
        turn = work.value(
            "update consumer set turn = ?, held = held + 1, handed = handed + 1, unread = unread + (prefetch = 0)"
            " where id = ? returning handed",
            work.tick(),
            self.consumer,
        )
        work.woken.add(self.owner)
        return self.owner, self.consumer, turn


def next_ready_consumer(work: Transaction, queue: Queue) -> ReadyConsumer | None:
    """The consumer that gets a queue's next message; the first alone where only one may be active."""
    row = work.execute(_FIRST if queue.single_active else _NEXT, (queue.id,)).fetchone()
    return row and ReadyConsumer._make(row)


def assign(work: Transaction, message: int, target: ReadyConsumer) -> None:
    """Hand over a message that was ready."""
    work.execute("update message set holder = ?, consumer = ?, turn = ? where id = ?", (*target.hand(work), message))

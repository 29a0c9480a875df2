"""Whose turn it is: the consumers that have room, in their order, and how a message is put into their hands."""

from typing import NamedTuple

from framework.broker.store import Transaction
from framework.broker.topology import Queue

__all__ = ["WINDOW", "Target", "hand_head", "next_target"]

#: How many messages lie unread for a consumer without a prefetch count, before it gets no more.
WINDOW = 200

_HAS_ROOM = f"""
    case when c.prefetch = 0 then c.unread < {WINDOW} else c.held < c.prefetch end
    and (h.prefetch = 0 or h.held < h.prefetch or c.no_ack) and h.active"""
_NEXT = f"""
    select c.id, c.owner, c.channel from consumer c join channel h on h.id = c.channel
    where c.queue = ? and {_HAS_ROOM} order by c.priority desc, c.turn limit 1"""  # noqa: S608
_FIRST = f"""
    select c.id, c.owner, c.channel from consumer c join channel h on h.id = c.channel
    where c.id = (select min(id) from consumer where queue = ?) and {_HAS_ROOM}"""  # noqa: S608


class Target(NamedTuple):
    """A consumer that has room."""

    consumer: int
    owner: int
    channel: int

    def hand(self, work: Transaction) -> tuple[int, int, int, int]:
        """Count a message as handed over: its holder, its turn among the holder's, its consumer and its channel."""
        turn = work.value("update owner set turn = turn + 1 where id = ? returning turn", self.owner)
        work.execute(
            "update consumer set turn = (select max(turn) + 1 from consumer o where o.queue = consumer.queue),"
            " unread = unread + (prefetch = 0) where id = ?",
            (self.consumer,),
        )
        work.woken.add(self.owner)
        return self.owner, turn, self.consumer, self.channel


def next_target(work: Transaction, queue: Queue) -> Target | None:
    """The consumer that gets a queue's next message; the first alone where only one may be active."""
    row = work.execute(_FIRST if queue.single_active else _NEXT, (queue.id,)).fetchone()
    return row and Target._make(row)


def hand_head(work: Transaction, message: int, target: Target) -> None:
    """Hand over a message that was ready."""
    work.execute(
        "update message set holder = ?, turn = ?, consumer = ?, channel = ? where id = ?", (*target.hand(work), message)
    )

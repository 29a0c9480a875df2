"""Dead letters that no queue takes: where ``at-least-once`` is asked for, they stay in the queue where they died."""

from typing import Any

from framework.broker.declared import Queue
from framework.broker.queues import Letter, insert
from framework.broker.store import Store, Transaction

__all__ = ["are_due", "keep", "put_off", "some_due"]

#: Seconds until a dead letter is sent on again.
PAUSE = 2

#: How many are sent on in one transaction.
BATCH = 100

#: Who holds them: no owner has that number, so nobody gives them back or hands them out.
NOBODY = -1

_DUE = "from message where holder = ? and consumer is null and turn <= ?"


def keep(work: Transaction, queue: Queue, letter: Letter, wanted_by: Queue | None) -> None:
    """Keep ``letter``, as it is to be sent on, in the queue where it died; ``wanted_by`` has no room for it now."""
    insert(work, queue, letter, work.now, None)
    put_off(work, int(work.value("select last_insert_rowid()")), wanted_by)


def put_off(work: Transaction, message: int, wanted_by: Queue | None) -> None:
    """Try again later."""
    # Nobody counts the returns of such a message; the column tells which queue it is for, 0 where that is not known.
    sql = "update message set holder = ?, turn = ?, returns = ? where id = ?"
    work.execute(sql, (NOBODY, int(work.now) + PAUSE, wanted_by.id if wanted_by else 0, message))


def are_due(store: Store, now: float) -> bool:
    """Whether it is time to send some on."""
    return bool(store.read(f"select 1 {_DUE} limit 1", NOBODY, now))


def some_due(work: Transaction) -> list[Any]:
    """Some that it is time for, the longest waiting first.

    Each is its number, the numbers of the queue it died in and of the one it is for, and then exchange, key, more keys,
    properties and body.
    """
    columns = "select id, queue, returns, exchange, routing_key, more_keys, properties, body"
    return work.execute(f"{columns} {_DUE} order by turn, id limit ?", (NOBODY, work.now, BATCH)).fetchall()

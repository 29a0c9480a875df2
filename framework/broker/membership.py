"""A connection among the living: its number, the lock that proves it alive, and the bell that wakes it."""

import weakref

from framework.broker.owners import OwnerLocks, locks_beside
from framework.broker.store import Store, Transaction
from framework.broker.wakeup import Bell

__all__ = ["Membership"]


class Membership:
    """What a connection needs that is to hold messages, or queues of its own."""

    def __init__(self, store: Store) -> None:
        self._locks = locks_beside(store.path)
        with store.writing() as work:
            self.number = _new_number(work, self._locks)
        # A connection that nobody closes is taken for dead as soon as nobody can use it any more.
        self._release = weakref.finalize(self, self._locks.release, self.number)
        self.bell = Bell(store.path, self.number)

    def end(self) -> None:
        """Be taken for dead from now on."""
        self.bell.close()
        self._release()


def _new_number(work: Transaction, locks: OwnerLocks) -> int:
    # A number may be taken by somebody who still uses the file that lay here before this one.
    while not locks.hold(number := int(work.value("insert into owner default values returning id"))):
        work.execute("delete from owner where id = ?", (number,))
    return number

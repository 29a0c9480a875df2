"""Limits per key: so many in a time for each visitor, shared by all processes and servers.

On a task::

    @celery.task(limit=Limit("1/10s", key="visitor"))
    def contact(visitor, text): ...

On its own, in a view::

    limit = Limit("5/minute", name="contact")
    limit.take(visitor)  # raises OverLimit, whose retry_after is the seconds to wait

The broker keeps the slots: see `framework.broker.slots`. It is exact: in no window of that length are there more.
"""

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, Self

from amqp.exceptions import NotFound, ResourceLocked
from celery._state import get_current_app

from framework.broker import slots
from framework.broker.request import request
from framework.broker.slots import Outcome
from framework.config import DEFAULTS
from framework.errors import BadLimit, OverLimit
from framework.keys import as_text, digest, value_of

__all__ = ["Limit", "Rate"]

Over = Literal["reject", "delay", "drop"]

#: Seconds in a unit, by each of its names.
UNITS = {
    name: seconds
    for seconds, names in {
        1.0: "s sec second seconds",
        60.0: "m min minute minutes",
        3600.0: "h hour hours",
        86400.0: "d day days",
    }.items()
    for name in names.split()
}

RATE = re.compile(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*", re.ASCII)

#: Seconds of the longest window: a fortnight.
LONGEST_WINDOW = 14 * 86400.0

#: Slots of the largest limit.
MOST = 1_000_000

#: Seconds that a queue lives on after its slots may have been used last: to make one costs more than to keep it.
MARGIN = 30.0

#: Buckets that new keys share while there are too many.
BUCKETS = 128

#: Queues that a process remembers; then it forgets them all, which costs a few messages each.
REMEMBERED = 20_000

#: Tries to see the oldest note while others look at it too.
LOOKS = 5


class Rate(NamedTuple):
    """``most`` in any ``window`` seconds."""

    most: int
    window: float

    @classmethod
    def of(cls, text: str) -> Self:
        """The rate that ``N/[M]unit`` says.

        >>> Rate.of("5/minute"), Rate.of("100/2h")
        (Rate(most=5, window=60.0), Rate(most=100, window=7200.0))

        Raises:
            BadLimit: it is none, or one that cannot be kept.
        """
        found = RATE.fullmatch(text) if isinstance(text, str) else None
        if found is None or found[3] not in UNITS:
            raise BadLimit.of(text, "it is no rate")
        rate = cls(int(found[1]), float(found[2] or 1) * UNITS[found[3]])
        if not 0 < rate.most <= MOST:
            raise BadLimit.of(text, f"it must allow 1 to {MOST:,}")
        if not 0.1 <= rate.window <= LONGEST_WINDOW:
            raise BadLimit.of(text, "its window must be 0.1 s to 14 days")
        return rate


class Limit:
    """So many calls in a time, for each key.

    Args:
        rate: ``N/[M]unit``: ``1/10s``, ``5/minute``, ``100/2h``.
        key: what is limited, where a task has this limit: the name of one of its arguments, or a function of the
            mapping of all of them, defaults included. None: one limit for the whole task.
        name: limits of one name and rate are one limit, on whichever task or view; a task's own name where it is None.
        over: what becomes of a task's call that is too many: ``reject`` raises ``OverLimit``, ``delay`` runs it as soon
            as the window allows, ``drop`` queues nothing and returns a result that is revoked.
        max_wait: seconds that a delayed call may have to wait; one that would wait longer is rejected.
        app: the application whose broker keeps it; the current one where it is None.

    Raises:
        BadLimit: the rate or another of these is wrong.
    """

    def __init__(
        self,
        rate: str,
        *,
        key: str | Callable[[Mapping[str, Any]], Any] | None = None,
        name: str | None = None,
        over: Over = "reject",
        max_wait: float = 3600.0,
        app: Any = None,
    ) -> None:
        self.text = rate
        self.rate = Rate.of(rate)
        if over not in ("reject", "delay", "drop"):
            raise BadLimit.of(rate, f"over is {over!r}, and must be reject, delay or drop")
        if not (key is None or callable(key) or (isinstance(key, str) and key.isidentifier())):
            raise BadLimit.of(rate, f"key is {key!r}, and must be an argument's name or a function")
        if not 0 <= max_wait <= LONGEST_WINDOW:
            raise BadLimit.of(rate, "max_wait must be 0 s to 14 days")
        self.key = key
        self.name = name
        self.over: Over = over
        self.max_wait = float(max_wait)
        self._app = app

    def __repr__(self) -> str:
        """As it was written, as far as it matters."""
        return f"Limit({self.text!r}, name={self.name!r})"

    def take(self, key: Any) -> None:
        """Take a slot for ``key``.

        Raises:
            OverLimit: there is none; its ``retry_after`` is the seconds until there will be.
            BadLimit: the limit has no name, or is one that delays, which only a task can be.
            BadKey: the key is None or empty, or of a kind that has no text of its own.
            BrokerUnreachable: the broker does not answer, so nothing can be said.
        """
        wanted = self._slots(key)
        if wanted.take() is None:
            raise OverLimit.of(self.name, self.text, wanted.wait())

    def allows(self, key: Any) -> bool:
        """Take a slot for ``key`` where there is one, and say whether; raises what `take` does but ``OverLimit``."""
        return self._slots(key).take() is not None

    def retry_after(self, key: Any) -> float:
        """Seconds until there is a slot for ``key``; 0.0 where there is one. Takes none."""
        return self._slots(key).wait()

    def _slots(self, key: Any) -> "Slots":
        if self.name is None:
            raise BadLimit.of(self.text, "on its own it needs a name: Limit(..., name='contact')")
        if self.over == "delay":
            raise BadLimit.of(self.text, "over='delay' is for tasks: in a view there is nothing to delay")
        return Slots(self._app or get_current_app(), self, self.name, as_text(key))


class Slots:
    """The slots of one key of a limit."""

    def __init__(self, app: Any, limit: Limit, scope: str, key: str) -> None:
        self._app = app
        self._limit = limit
        self._rate = limit.rate
        self._scope = scope
        self._base = f"{'turn' if limit.over == 'delay' else 'limit'}.{digest(scope, *map(str, limit.rate))}"
        self._queue = f"{self._base}.{digest(key)}"
        self._bucket = f"{self._base}.shared.{int(digest(key), 16) % BUCKETS}"
        self._life = 2 * self._rate.window + MARGIN + (limit.max_wait if limit.over == "delay" else 0.0)
        self._memory = _memory(app)
        #: Where there may be a slot, as far as is known.
        self._places: tuple[str, ...] = (self._queue, self._bucket)

    def take(self) -> str | None:
        """Take a slot: the name of the queue it is in, for `give_back`; None where all are taken."""
        taken = request(self._app, self._take)
        if taken is not None:
            self._memory.full.pop(taken, None)
        return taken

    def _take(self, channel: Any) -> str | None:
        outcome = slots.take(channel, self._queue)
        if outcome is Outcome.FULL:
            self._places = (self._queue,)
            return None
        if not self._is_fresh(self._queue):
            if self._may_keep(channel, self._queue):
                self._declare(channel, self._queue)
            elif outcome is Outcome.MISSING:
                return self._take_shared(channel)
        elif outcome is Outcome.MISSING:
            self._declare(channel, self._queue)
        return self._noted(channel, self._queue, outcome)

    def _take_shared(self, channel: Any) -> str | None:
        self._places = (self._bucket,)
        if not self._is_fresh(self._bucket):
            self._declare(channel, self._bucket)
        return self._noted(channel, self._bucket, Outcome.MISSING)

    def _noted(self, channel: Any, queue: str, outcome: Outcome) -> str | None:
        """Note when a slot was taken, and take it first where that could not be done yet."""
        if outcome is Outcome.MISSING:
            outcome = slots.take(channel, queue)
            if outcome is Outcome.MISSING:  # deleted by hand in between
                self._declare(channel, queue)
                outcome = slots.take(channel, queue)
        if outcome is not Outcome.TAKEN:
            return None
        slots.note(channel, _notes(queue), repr(time.time()).encode(), lasting=False)
        return queue

    def give_back(self, queue: str) -> None:
        """Give a slot back that was taken for something that did not come to be."""
        try:
            request(self._app, partial(slots.free, name=_notes(queue)))
            request(self._app, partial(slots.free, name=queue))
        except NotFound:
            return

    def wait(self) -> float:
        """Seconds until there is a slot."""
        for queue in self._places:
            if (known := self._memory.full.get(queue, 0.0) - time.time()) > 0:
                return known
            try:
                oldest = self._oldest(queue)
            except NotFound:
                continue
            if oldest is None:
                return self._rate.window if self._is_full(queue) else 0.0
            self._remember(queue, oldest + self._rate.window)
            return min(max(oldest + self._rate.window - time.time(), 0.0), self._rate.window)
        return 0.0

    def _is_full(self, queue: str) -> bool:
        """Whether all slots are taken though no note tells since when: the broker was restarted."""
        return request(self._app, partial(slots.taken, name=queue)) >= self._rate.most

    def _oldest(self, queue: str) -> float | None:
        """When the oldest slot was taken, where all are."""
        seen = None
        for _ in range(LOOKS):
            note = request(self._app, lambda channel: slots.look(channel, _notes(queue)))
            if note is not None:
                seen = min(seen or float("inf"), float(note.body))
                if note.others + 1 >= self._rate.most:
                    return seen
            elif self._rate.most > 1 and seen is None:
                return None
            time.sleep(0.002)  # somebody else is looking at it
        # A slot that was taken is noted a moment later; where its process died in between, it never is.
        return seen

    def reserve(self) -> float:
        """The next turn, which is taken: the moment in seconds of Unix time, not later than ``max_wait`` from now.

        Raises:
            OverLimit: it would be later.
        """
        while True:
            try:
                turn, wait = request(self._app, self._reserve)
            except ResourceLocked:
                time.sleep(0.003)
                continue
            if turn is None:
                raise OverLimit.of(self._scope, self._limit.text, wait - self._limit.max_wait)
            return turn

    def _reserve(self, channel: Any) -> tuple[float | None, float]:
        queue = self._queue
        if not self._is_fresh(queue):
            queue = queue if self._may_keep(channel, queue) else self._bucket
            slots.declare_notes(channel, _notes(queue), self._rate.most, self._life)
            self._memory.declared[queue] = time.monotonic()
        with slots.alone(channel, f"{queue}.turn"):
            return self._turn(channel, _notes(queue))

    def _turn(self, channel: Any, notes: str) -> tuple[float | None, float]:
        now = time.time()
        first = slots.look(channel, notes, keep=False)
        is_full = first is not None and first.others + 1 >= self._rate.most
        turn = max(now, float(first.body) + self._rate.window) if first is not None and is_full else now
        if turn - now > self._limit.max_wait:
            channel.basic_reject(first and first.tag, requeue=True)
            return None, turn - now
        # The new one first: a process that dies between the two leaves one too many, and the oldest is dropped.
        slots.note(channel, notes, repr(turn).encode())
        if first is not None and is_full:
            channel.basic_ack(first.tag)
        elif first is not None:
            channel.basic_reject(first.tag, requeue=True)
        return turn, turn - now

    def _is_fresh(self, queue: str) -> bool:
        """Whether this process has declared a queue so lately that it outlives a slot that is taken now."""
        declared = self._memory.declared.get(queue)
        return declared is not None and time.monotonic() - declared < self._rate.window + MARGIN - 1

    def _may_keep(self, channel: Any, queue: str) -> bool:
        """Whether there is room for one key more; it is counted."""
        most = int(self._app.conf.get("task_limit_keys", DEFAULTS["task_limit_keys"]))
        keys = f"{self._base}.keys.{most}"  # another setting counts anew: a queue's arguments cannot be changed
        if self._memory.declared.get(keys, 0.0) < time.monotonic() - self._life:
            slots.declare(channel, keys, most, self._life, 3 * self._life)
            self._memory.declared[keys] = time.monotonic()
        outcome = slots.take(channel, keys, lasting=False)
        if outcome is Outcome.MISSING:  # the broker was set up anew
            self._memory.declared.pop(keys, None)
            return self._may_keep(channel, queue)
        return outcome is Outcome.TAKEN

    def _declare(self, channel: Any, queue: str) -> None:
        slots.declare(channel, queue, self._rate.most, self._rate.window, self._life)
        slots.declare_notes(channel, _notes(queue), self._rate.most, self._life, self._rate.window)
        if len(self._memory.declared) > REMEMBERED:
            self._memory.declared.clear()
        self._memory.declared[queue] = time.monotonic()

    def _remember(self, queue: str, until: float) -> None:
        if len(self._memory.full) > REMEMBERED:
            self._memory.full.clear()
        self._memory.full[queue] = until


class Memory:
    """What this process knows: when it declared a queue, and until when the slots of one are taken."""

    def __init__(self) -> None:
        self.declared: dict[str, float] = {}
        self.full: dict[str, float] = {}


def _memory(app: Any) -> Memory:
    memory: Memory = app.__dict__.setdefault("_limit_memory", Memory())
    return memory


def slots_of(task: Any, limit: Limit, place: int, bound: Mapping[str, Any]) -> Slots:
    """The slots of a call of ``task`` with these arguments, by the limit at that ``place`` among the task's.

    Raises:
        BadKey: the call has no key for it.
    """
    which = limit.key if isinstance(limit.key, str) else str(place)
    scope = limit.name or f"{task.name}({which})"
    key = "" if limit.key is None else as_text(value_of(limit.key, task.name, bound))
    return Slots(task.app, limit, scope, key)


def _notes(queue: str) -> str:
    return f"{queue}.notes"

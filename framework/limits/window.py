"""An exact sliding window on the broker: the tokens of one key of a limit."""

import time
from functools import partial
from typing import Any

from amqp.exceptions import NotFound, ResourceLocked

from framework.broker.request import request
from framework.config import setting
from framework.errors import OverLimit
from framework.limits import slots
from framework.limits.key import digest
from framework.limits.rate import Rate
from framework.limits.slots import Outcome

#: Seconds that a queue lives on after its slots may have been used last: to make one costs more than to keep it.
MARGIN_SECONDS = 30.0

#: Buckets that new keys share while there are too many.
SHARED_BUCKETS = 128

#: Queues that a process remembers; then it forgets them all, which costs a few messages each.
REMEMBERED_QUEUES = 20_000

#: Tries to see the oldest note while others look at it too.
READ_ATTEMPTS = 5


class SlidingWindow:
    """The tokens of one key of a limit.

    Args:
        app: The application whose broker keeps them.
        rate: How many tokens there are, and the seconds until one is free again.
        text: The rate as it was written, for errors.
        scope: The limit's name: windows of one scope, rate and key share their tokens.
        key: The key, as text.
        delays: Whether a call over the limit waits for its turn, ``max_wait`` seconds at most.
    """

    def __init__(
        self, app: Any, rate: Rate, text: str, scope: str, key: str, *, delays: bool = False, max_wait: float = 0.0
    ) -> None:
        self._app = app
        self._rate = rate
        self._text = text
        self._scope = scope
        self._max_wait = max_wait if delays else 0.0
        self._base = f"{'turn' if delays else 'limit'}.{digest(scope, *map(str, rate))}"
        self._queue = f"{self._base}.{digest(key)}"
        self._bucket = f"{self._base}.shared.{int(digest(key), 16) % SHARED_BUCKETS}"
        self._life = 2 * rate.window + MARGIN_SECONDS + self._max_wait
        self._memory = _declared_queues(app)
        #: Where there may be a slot, as far as is known.
        self._places: tuple[str, ...] = (self._queue, self._bucket)

    def take(self) -> str | None:
        """Take a slot: the name of the queue it is in, for `give_back`; None where all are taken."""
        taken = request(self._app, self._take)
        if taken is not None:
            self._memory.full.pop(taken, None)
        return taken

    def _take(self, channel: Any) -> str | None:
        outcome = slots.acquire(channel, self._queue)
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
            outcome = slots.acquire(channel, queue)
            if outcome is Outcome.MISSING:  # deleted by hand in between
                self._declare(channel, queue)
                outcome = slots.acquire(channel, queue)
        if outcome is not Outcome.TAKEN:
            return None
        slots.note(channel, _notes(queue), repr(time.time()).encode(), lasting=False)
        return queue

    def give_back(self, queue: str) -> None:
        """Give a slot back that was taken for something that did not come to be."""
        try:
            request(self._app, partial(slots.release, name=_notes(queue)))
            request(self._app, partial(slots.release, name=queue))
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
        return request(self._app, partial(slots.count_acquired, name=queue)) >= self._rate.most

    def _oldest(self, queue: str) -> float | None:
        """When the oldest slot was taken, where all are."""
        seen = None
        for _ in range(READ_ATTEMPTS):
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
                raise OverLimit.of(self._scope, self._text, wait - self._max_wait)
            return turn

    def _reserve(self, channel: Any) -> tuple[float | None, float]:
        queue = self._queue
        if not self._is_fresh(queue):
            queue = queue if self._may_keep(channel, queue) else self._bucket
            slots.declare_notes(channel, _notes(queue), self._rate.most, self._life)
            self._memory.declared[queue] = time.monotonic()
        with slots.exclusive_lock(channel, f"{queue}.turn"):
            return self._turn(channel, _notes(queue))

    def _turn(self, channel: Any, notes: str) -> tuple[float | None, float]:
        now = time.time()
        first = slots.look(channel, notes, keep=False)
        is_full = first is not None and first.others + 1 >= self._rate.most
        turn = max(now, float(first.body) + self._rate.window) if first is not None and is_full else now
        if turn - now > self._max_wait:
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
        return declared is not None and time.monotonic() - declared < self._rate.window + MARGIN_SECONDS - 1

    def _may_keep(self, channel: Any, queue: str) -> bool:
        """Whether there is room for one key more; it is counted."""
        most = int(setting(self._app, "task_limit_keys"))
        keys = f"{self._base}.keys.{most}"  # another setting counts anew: a queue's arguments cannot be changed
        if self._memory.declared.get(keys, float("-inf")) < time.monotonic() - self._life:
            slots.declare(channel, keys, most, self._life, 3 * self._life)
            self._memory.declared[keys] = time.monotonic()
        outcome = slots.acquire(channel, keys, lasting=False)
        if outcome is Outcome.MISSING:  # the broker was set up anew
            self._memory.declared.pop(keys, None)
            return self._may_keep(channel, queue)
        return outcome is Outcome.TAKEN

    def _declare(self, channel: Any, queue: str) -> None:
        slots.declare(channel, queue, self._rate.most, self._rate.window, self._life)
        slots.declare_notes(channel, _notes(queue), self._rate.most, self._life, self._rate.window)
        if len(self._memory.declared) > REMEMBERED_QUEUES:
            self._memory.declared.clear()
        self._memory.declared[queue] = time.monotonic()

    def _remember(self, queue: str, until: float) -> None:
        if len(self._memory.full) > REMEMBERED_QUEUES:
            self._memory.full.clear()
        self._memory.full[queue] = until


class _DeclaredQueues:
    """What this process knows: when it declared a queue, and until when the slots of one are taken."""

    def __init__(self) -> None:
        self.declared: dict[str, float] = {}
        self.full: dict[str, float] = {}


def _declared_queues(app: Any) -> _DeclaredQueues:
    memory: _DeclaredQueues = app.__dict__.setdefault("_limit_memory", _DeclaredQueues())
    return memory


def _notes(queue: str) -> str:
    return f"{queue}.notes"

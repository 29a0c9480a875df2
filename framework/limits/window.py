"""An exact sliding window on the broker: the tokens of one key of a limit."""

import time
from functools import partial
from typing import Any, TypeVar

from amqp.exceptions import NotFound, ResourceLocked
from celery.utils.log import get_logger

from framework.broker.clock import BrokerClock
from framework.broker.request import request
from framework.config import setting
from framework.errors import BrokerUnreachable, LimitUnavailable, OverLimit
from framework.limits import tokens
from framework.limits.key import digest
from framework.limits.rate import Rate
from framework.limits.tokens import Outcome

T = TypeVar("T")

log = get_logger(__name__)

#: The queue of a token that the broker did not count.
UNCOUNTED = ""

#: Seconds by which the clocks of servers differ in good order.
CLOCK_TOLERANCE_SECONDS = 1.0

#: Seconds that a queue is kept after its tokens may have been used last: to declare one costs more than to keep it.
MARGIN_SECONDS = 30.0

#: Buckets that new keys share while there are too many.
SHARED_BUCKETS = 128

#: Queues that a process remembers; then it forgets them all, which costs a few messages each.
REMEMBERED_QUEUES = 20_000

#: Attempts to read the oldest timestamp of tokens that other processes acquire right now.
READ_ATTEMPTS = 5

#: Seconds until it is read again, and until a lock is requested again.
READ_DELAY_SECONDS, LOCK_DELAY_SECONDS = 0.002, 0.003


class SlidingWindow:
    """The tokens of one key of a limit.

    Args:
        app: The application whose broker keeps them.
        rate: How many tokens there are, and the seconds until one is free again.
        text: The rate as it was written, for errors.
        scope: The limit's name: windows of one scope, rate and key share their tokens.
        key: The key, as text.
        max_wait: The seconds that a call over the limit may wait for its turn; None where it does not wait.
        optional: Whether a call passes where the broker cannot count it.
    """

    def __init__(
        self,
        app: Any,
        rate: Rate,
        text: str,
        scope: str,
        key: str,
        *,
        max_wait: float | None = None,
        optional: bool = False,
    ) -> None:
        self._app = app
        self._rate = rate
        self._text = text
        self._scope = scope
        self._optional = optional
        self._max_wait = max_wait or 0.0
        self._base = f"{'limit' if max_wait is None else 'turn'}.{digest(scope, *map(str, rate))}"
        self._queue = f"{self._base}.{digest(key)}"
        self._bucket = f"{self._base}.shared.{int(digest(key), 16) % SHARED_BUCKETS}"
        self._life = 2 * rate.window + MARGIN_SECONDS + self._max_wait
        self._memory = _memory_of(app)
        #: The queues that may have a free token.
        self._candidates: tuple[str, ...] = (self._queue, self._bucket)

    def acquire(self) -> str | None:
        """Acquire a token; return the name of its queue, for `release`, or None where all are acquired.

        Raises:
            LimitUnavailable: the broker does not answer.
        """
        try:
            queue = request(self._app, self._acquire)
        except BrokerUnreachable as exc:
            return self._unavailable(exc.__context__ or exc, UNCOUNTED)
        if queue is not None:
            self._memory.full.pop(queue, None)
        return queue

    def _acquire(self, channel: Any) -> str | None:
        outcome = tokens.acquire(channel, self._queue)
        if outcome is Outcome.FULL:
            self._candidates = (self._queue,)
            return None
        if not self._is_fresh(self._queue):
            if self._may_declare(channel):
                self._declare(channel, self._queue)
            elif outcome is Outcome.MISSING:
                return self._acquire_shared(channel)
        elif outcome is Outcome.MISSING:
            self._declare(channel, self._queue)
        return self._with_timestamp(channel, self._queue, outcome)

    def _acquire_shared(self, channel: Any) -> str | None:
        self._candidates = (self._bucket,)
        if not self._is_fresh(self._bucket):
            self._declare(channel, self._bucket)
        return self._with_timestamp(channel, self._bucket, Outcome.MISSING)

    def _with_timestamp(self, channel: Any, queue: str, outcome: Outcome) -> str | None:
        """Record the time of a token that was acquired; acquire it first where its queue was missing."""
        if outcome is Outcome.MISSING:
            outcome = tokens.acquire(channel, queue)
            if outcome is Outcome.MISSING:  # deleted by hand in between
                self._declare(channel, queue)
                outcome = tokens.acquire(channel, queue)
        if outcome is not Outcome.ACQUIRED:
            return None
        tokens.put_record(channel, _timestamps(queue), repr(time.time()).encode(), persistent=False)
        return queue

    def release(self, queue: str) -> None:
        """Release a token that was acquired for a call that was not queued."""
        if queue == UNCOUNTED:
            return
        try:
            request(self._app, partial(tokens.release, name=_timestamps(queue)))
            request(self._app, partial(tokens.release, name=queue))
        except NotFound:
            return

    def wait(self) -> float:
        """Return the seconds until a token is free.

        Raises:
            LimitUnavailable: the broker does not answer.
        """
        try:
            return self._wait()
        except BrokerUnreachable as exc:
            return self._unavailable(exc.__context__ or exc, 0.0)

    def _wait(self) -> float:
        for queue in self._candidates:
            if (known := self._memory.full.get(queue, 0.0) - time.monotonic()) > 0:
                return known
            try:
                wait = self._wait_for(queue)
            except NotFound:
                continue
            self._remember(queue, time.monotonic() + wait)
            return wait
        return 0.0

    def _wait_for(self, queue: str) -> float:
        """Return the seconds until a token of a queue is free, by the clocks of this process and of the oldest's."""
        window = self._rate.window
        for _ in range(READ_ATTEMPTS):
            oldest = request(self._app, partial(tokens.read_oldest, name=_timestamps(queue)))
            if oldest is not None and oldest.others + 1 >= self._rate.most:
                break
            if not self._is_full(queue):
                return 0.0
            time.sleep(READ_DELAY_SECONDS)  # a timestamp is recorded after its token is acquired
        if oldest is None:  # the broker was restarted, or processes died before they recorded any
            return window
        wait = float(oldest.body) + window - time.time()
        if wait < -CLOCK_TOLERANCE_SECONDS and self._is_full(queue):  # the clocks differ
            return window
        return min(max(wait, 0.0), window)

    def _is_full(self, queue: str) -> bool:
        """Return whether all tokens are acquired, whatever their timestamps say."""
        return request(self._app, partial(tokens.count_acquired, name=queue)) >= self._rate.most

    def reserve(self) -> float:
        """Reserve the next turn; return the seconds until it, at most ``max_wait``.

        Raises:
            OverLimit: it would be later.
            LimitUnavailable: the broker does not answer, or a suspended process holds the lock of the turns.
        """
        deadline = time.monotonic() + setting(self._app, "task_publish_timeout")
        while True:
            try:
                wait = request(self._app, self._reserve)
            except ResourceLocked:
                if time.monotonic() > deadline:
                    return self._unavailable("the process that takes its turn does not end, and may be suspended", 0.0)
                time.sleep(LOCK_DELAY_SECONDS)
                continue
            except BrokerUnreachable as exc:
                return self._unavailable(exc.__context__ or exc, 0.0)
            if wait > self._max_wait:
                raise OverLimit.of(self._scope, self._text, wait - self._max_wait)
            return wait

    def _reserve(self, channel: Any) -> float:
        queue = self._queue
        if not self._is_fresh(queue):
            queue = queue if self._may_declare(channel) else self._bucket
            tokens.declare_records(channel, _timestamps(queue), self._rate.most, self._life)
            self._memory.declared[queue] = time.monotonic()
        self._memory.clock.now(channel)  # reads the broker's time, if that is due, before others have to wait
        with tokens.exclusive_lock(channel, f"{queue}.turn"):
            return self._next_turn(channel, _timestamps(queue))

    def _next_turn(self, channel: Any, timestamps: str) -> float:
        """Record the next turn; return the seconds until it. One that is too late is not recorded.

        Turns are times of the broker's clock: those of processes whose clocks differ follow each other all the same.
        """
        now = self._memory.clock.now(channel)
        first = tokens.take_oldest(channel, timestamps)
        is_full = first is not None and first.others + 1 >= self._rate.most
        turn = max(now, float(first.body) + self._rate.window) if first is not None and is_full else now
        if turn - now > self._max_wait:
            channel.basic_reject(first and first.tag, requeue=True)
            return turn - now
        # The new one first: a process that dies between the two leaves one too many, and the oldest is dropped.
        tokens.put_record(channel, timestamps, repr(turn).encode())
        if first is not None and is_full:
            channel.basic_ack(first.tag)
        elif first is not None:
            channel.basic_reject(first.tag, requeue=True)
        return turn - now

    def _unavailable(self, cause: BaseException | str, uncounted: T) -> T:
        """Return ``uncounted`` where the limit allows it, with a warning.

        Raises:
            LimitUnavailable: it does not.
        """
        unavailable = LimitUnavailable.of(self._scope, self._text, cause)
        if not self._optional:
            raise unavailable from None
        log.warning("A call passes without being counted. %s", unavailable.message)
        return uncounted

    def _is_fresh(self, queue: str) -> bool:
        """Return whether this process declared a queue so recently that it outlives a token acquired now."""
        declared = self._memory.declared.get(queue)
        return declared is not None and time.monotonic() - declared < self._rate.window + MARGIN_SECONDS - 1

    def _may_declare(self, channel: Any) -> bool:
        """Count a new key; return whether it may have a queue, or must share a bucket."""
        most = int(setting(self._app, "task_limit_keys"))
        keys = (
            f"{self._base}.keys.{most}"  # another setting starts another count: a queue's arguments cannot be changed
        )
        if self._memory.declared.get(keys, float("-inf")) < time.monotonic() - self._life:
            tokens.declare(channel, keys, most, self._life, 3 * self._life)
            self._memory.declared[keys] = time.monotonic()
        outcome = tokens.acquire(channel, keys, persistent=False)
        if outcome is Outcome.MISSING:  # the broker was reset
            self._memory.declared.pop(keys, None)
            return self._may_declare(channel)
        return outcome is Outcome.ACQUIRED

    def _declare(self, channel: Any, queue: str) -> None:
        tokens.declare(channel, queue, self._rate.most, self._rate.window, self._life)
        tokens.declare_records(channel, _timestamps(queue), self._rate.most, self._life, self._rate.window)
        if len(self._memory.declared) > REMEMBERED_QUEUES:
            self._memory.declared.clear()
        self._memory.declared[queue] = time.monotonic()

    def _remember(self, queue: str, until: float) -> None:
        if len(self._memory.full) > REMEMBERED_QUEUES:
            self._memory.full.clear()
        self._memory.full[queue] = until


class _Memory:
    """What a process knows of the broker: queues it declared, with the time; full ones, until when; the clock."""

    def __init__(self) -> None:
        self.clock = BrokerClock()
        self.declared: dict[str, float] = {}
        self.full: dict[str, float] = {}


def _memory_of(app: Any) -> _Memory:
    memory: _Memory = app.__dict__.setdefault("_limit_memory", _Memory())
    return memory


def _timestamps(queue: str) -> str:
    return f"{queue}.notes"

"""Publishes the tasks of slots on the leader's connection, each with the record of its run.

The record is a copy of the task, in the same publish, so that no crash comes between the two. The broker routes the
copy in any case, and so cannot return the task as unroutable; where that may be, and where the task's queue refused the
last one, the task is published alone, and its record after the broker has confirmed it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from amqp.exceptions import ChannelError, FrameSyntaxError, MessageNacked, NotFound
from celery import Celery
from celery.backends.rpc import RPCBackend
from celery.utils.log import get_logger
from kombu import Exchange, Producer
from kombu.exceptions import SerializationError

from framework.broker.amqp_codes import NO_ROUTE
from framework.broker.delays import DelayedQueue
from framework.errors import AlreadyQueued, FrameworkError, describe
from framework.schedule.encoding import check_headers
from framework.schedule.entries import Entry
from framework.schedule.leader_connection import LeaderConnection, LeadershipLost
from framework.schedule.messages import Kind, outcome, run_headers

__all__ = ["FULL", "NotSent", "QueueRefused", "Sender", "Skipped", "SlotRefused", "task_id"]


log = get_logger(__name__)

#: The options of a task for which a call acquires or reports something.
HOLDING = ("limit", "unique", "track")

FULL = "its queue is full, or cannot keep it now"


class SlotRefused(LeadershipLost):
    """A slot's task was refused, and the broker closed the channel: other entries are sent first."""


class NotSent(Exception):
    """A slot's task cannot be sent; the leader continues with the other entries."""


class QueueRefused(NotSent):
    """The queue of a slot's task refused it, but its copy may be in the state queue."""


class Skipped(Exception):
    """The call of a slot was answered without a task: the last one is still queued or running."""


def task_id(app: Celery, entry: str, slot: datetime) -> str:
    """Return the id of a slot's task, the same on every server."""
    return str(uuid5(NAMESPACE_URL, f"celery-beat:{app.main}:{entry}:{slot.isoformat()}"))


class Sender:
    """Sends the tasks of slots on a leader's connection."""

    def __init__(self, app: Celery, connection: LeaderConnection) -> None:
        self._app = app
        self._connection = connection
        self._producer = SlotProducer(connection)

    def begin(self) -> None:
        """Check each queue again before the next task is sent to it."""
        self._producer.checked.clear()

    def can_defer(self, entry: Entry) -> bool:
        """Return whether a call of the entry's task may end before its confirm: it holds nothing to release."""
        task = self._app.tasks.get(entry.task)
        return not any(getattr(task, option, None) for option in HOLDING)

    def refused(self) -> list[Any]:
        """Wait until all that was deferred is confirmed; return what was refused, the last one first.

        Raises:
            SlotRefused: the broker closed the channel over one of the tasks.
            LeadershipLost: the broker did not confirm them.
        """
        with self._connection.converting_errors():
            try:
                return self._connection.confirms.refused()
            except ChannelError as exc:
                raise refusal(exc, self._connection.queue) from exc

    def send(self, entry: Entry, slot: datetime, skipped: int, *, in_doubt: bool = False, defer_as: Any = None) -> None:
        """Send the task of a slot; once this returns, the broker has it, and the record of its run.

        Args:
            entry: the entry.
            slot: the slot.
            skipped: how many slots before it were passed over.
            in_doubt: whether the last try failed, so that the task is recorded only after it was confirmed.
            defer_as: what the connection's ``refused`` returns if the queue refuses the task, so that this returns
                before the broker has it; None to wait. A task in doubt is always waited for.

        Raises:
            Skipped: the call was answered without a task.
            QueueRefused: its queue refused it, but its copy may be in the state queue.
            NotSent: its queue refuses it, its arguments cannot be serialized, or the like.
            LeadershipLost: the broker did not confirm it.
        """
        number = task_id(self._app, entry.name, slot)
        self._producer.expect(number, in_doubt, defer_as)
        answer = None
        try:
            answer = self._call(entry, slot, skipped, number)
        except (LeadershipLost, NotSent):
            raise
        except AlreadyQueued as exc:
            raise Skipped(exc.message) from exc
        except Exception as exc:
            self._raise_or_log(exc)
        if self._producer.published:
            if not self._producer.copied:
                self._connection.publish(Kind.SENT, outcome(entry.name, slot, skipped))
        elif answer is None:  # the task's own apply_async decided otherwise
            raise NotSent("its apply_async published nothing")
        else:
            raise Skipped(f"the call was answered with the result of {answer}")

    def _raise_or_log(self, exc: Exception) -> None:
        if not self._connection.is_connected:  # Celery, of a producer without connection
            raise LeadershipLost("the connection was closed") from exc
        why = exc.message if isinstance(exc, FrameworkError) else describe(exc)
        if not self._producer.published:
            raise NotSent(why) from exc
        log.warning("beat: a task was sent, and a later step of its call failed: %s", why)

    def _call(self, entry: Entry, slot: datetime, skipped: int, number: str) -> Any:
        args, kwargs = entry.call()
        options = {**self._defaults(), **entry.options}
        record = run_headers(entry.name, slot, skipped)
        headers = {"celery_beat_task": True, **(options.pop("headers", None) or {}), **record}
        options |= {"headers": headers, "task_id": number}
        options |= {"producer": self._producer, "retry": False}
        task = self._app.tasks.get(entry.task)
        if task is not None:
            return task.apply_async(args, kwargs, **options)
        return self._app.send_task(entry.task, args, kwargs, **options)

    def _defaults(self) -> dict[str, Any]:
        # The rpc backend sends results to the caller, and a scheduler does not read them.
        return {"ignore_result": True} if isinstance(self._app.backend, RPCBackend) else {}


# Its stubs name each argument.
Base: Any = Producer


class SlotProducer(Base):  # type: ignore[misc]
    """A producer that copies each slot's task into the state queue, in the same publish.

    Its errors are `NotSent` and `LeadershipLost` alone, for which neither Celery nor kombu reconnects.
    """

    def __init__(self, connection: LeaderConnection) -> None:
        self._connection = connection
        #: The routing key by which only the state queue is bound.
        self._copy_key = f"{connection.queue}.record.of.a.run.for.the.scheduler.alone"
        self._needed: list[Any] = []
        self._declared: set[Any] = set()
        self._copied: set[str] = set()
        self._expected = ""
        self._in_doubt = False
        self._defer_as: Any = None
        #: Whether the expected task has been published, and whether its copy was, in the same publish.
        self.published = self.copied = False
        #: The queues that were seen to exist.
        self.checked: set[str] = set()
        with connection.converting_errors():
            #: For declarations, and for tasks that the broker may refuse by closing the channel.
            self._side_channel = connection.open_channel()
        super().__init__(connection.channel, auto_declare=False)

    def expect(self, task_id: str, in_doubt: bool, defer_as: Any) -> None:
        """Treat the next publish of the task with that id as the slot's."""
        self._expected, self._in_doubt, self._defer_as = task_id, in_doubt, defer_as
        self.published = self.copied = False
        self._needed.clear()

    def maybe_declare(self, entity: Any, *_: Any, **__: Any) -> None:
        """Remember that an exchange or queue is needed; it is declared with the rest, on a separate channel."""
        self._needed.append(entity)

    def publish(self, body: Any, *, headers: Any = None, declare: Sequence[Any] = (), **options: Any) -> Any:
        """Publish; a slot's task is confirmed and copied, anything else (an event, say) is not.

        Raises:
            QueueRefused: its queue refused it, but its copy may be in the state queue.
            NotSent: it is refused.
            LeadershipLost: the broker did not confirm it.
        """
        with self._connection.converting_errors():
            exchange = _name_of(options.get("exchange"))
            declare = [*self._needed, *declare]
            own = {"exchange": exchange, "retry": False}
            if (headers or {}).get("id") != self._expected:
                self._side(lambda: self._declare_and_check(declare))
                return super().publish(body, headers=headers, **{**options, **own, "mandatory": False})
            _check(headers)
            # The record must not expire with the task; the worker checks its ``expires``.
            own |= {"mandatory": True, "expiration": None, "confirm_timeout": self._connection.confirm_timeout}
            routable = not exchange or any(isinstance(entity, DelayedQueue) for entity in declare)
            if routable and not self._in_doubt:
                self._side(lambda: self._declare_and_check(declare))
                key = self._side(lambda: self._key_in(exchange))
                headers = {**headers, "BCC": [*(headers.get("BCC") or ()), key]}
                self._publish_copied(body, headers, {**options, **own})
            else:
                self._side(lambda: self._publish_alone(body, headers, declare, {**options, **own}))
            self.published = True
            return None

    def _side(self, act: Callable[[], Any]) -> Any:
        """Act on the side channel, which the broker closes where it refuses something.

        Raises:
            NotSent: it is refused.
        """
        try:
            return act()
        except MessageNacked as exc:
            raise NotSent(FULL) from exc
        except ChannelError as exc:
            self._reset_channel()
            cause = "no queue takes it" if exc.reply_code == NO_ROUTE else "the broker refuses it"
            raise NotSent(f"{cause}: {exc.reply_text or describe(exc)}") from exc

    def _publish_alone(self, body: Any, headers: Any, declare: Sequence[Any], options: dict[str, Any]) -> None:
        self._declare_and_check(declare)
        self.channel = self._side_channel
        try:
            self._publish_encoded(body, headers, options)
        finally:
            self.channel = self._connection.channel

    def _publish_copied(self, body: Any, headers: Any, options: dict[str, Any]) -> None:
        try:
            with self._connection.confirms.deferring(self._defer_as):
                self._publish_encoded(body, headers, options)
        except MessageNacked as exc:
            raise QueueRefused(FULL) from exc
        except ChannelError as exc:
            raise refusal(exc, self._connection.queue) from exc
        self.copied = True

    def _publish_encoded(self, body: Any, headers: Any, options: dict[str, Any]) -> None:
        try:
            super().publish(body, headers=headers, **options)
        except (SerializationError, FrameSyntaxError) as exc:  # raised before anything is written
            raise NotSent(describe(exc)) from exc

    def _key_in(self, exchange: str) -> str:
        """Return the routing key by which an exchange routes a copy to the state queue."""
        if not exchange:
            return self._connection.queue
        if exchange not in self._copied:
            self._side_channel.queue_bind(self._connection.queue, exchange, self._copy_key)
            self._copied.add(exchange)
        return self._copy_key

    def _declare_and_check(self, declare: Sequence[Any]) -> None:
        """Declare exchanges and queues, and check once in each batch that the task's queue still exists.

        The broker would not return the message as unroutable, since its copy is always routed.
        """
        self._declare(declare)
        if declare and declare[-1].name not in self.checked:
            try:
                self._side_channel.queue_declare(declare[-1].name, passive=True)
            except NotFound:
                self._reset_channel()
                self._declare(declare)
            self.checked.add(declare[-1].name)

    def _declare(self, entities: Sequence[Any]) -> None:
        for entity in entities:
            if entity not in self._declared:
                entity.bind(self._side_channel).declare()
                self._declared.add(entity)

    def _reset_channel(self) -> None:
        """Open another side channel: the broker closed this one, or a confirm is still on its way."""
        with suppress(ChannelError):
            self._side_channel.close()
        self._declared.clear()
        self._copied.clear()
        self.checked.clear()
        self._side_channel = self._connection.open_channel()


def refusal(exc: ChannelError, state_queue: str) -> LeadershipLost:
    """Return what the close of the channel on which tasks are copied means."""
    if exc.reply_code == NO_ROUTE:
        return LeadershipLost(f"the queue {state_queue!r} is gone")
    return SlotRefused(f"the broker refuses a task: {exc.reply_text or describe(exc)}")


def _check(headers: Any) -> None:
    if fault := check_headers(headers):
        raise NotSent(fault)


def _name_of(exchange: Any) -> str:
    return str(exchange.name if isinstance(exchange, Exchange) else exchange or "")

"""Publishing what is due: the task and the record of its run in one message, on the scheduler's own connection."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from amqp.exceptions import ChannelError, MessageNacked, NotFound
from celery import Celery
from celery.backends.rpc import RPCBackend
from celery.utils.log import get_logger
from kombu import Exchange, Producer
from kombu.exceptions import SerializationError

from framework.broker.amqp_codes import NO_ROUTE
from framework.errors import FrameworkError, describe
from framework.schedule.entries import Entry
from framework.schedule.leader_connection import LeaderConnection, LeadershipLost
from framework.schedule.messages import run_headers

__all__ = ["NotSent", "Sender", "SlotRefused", "task_id"]


log = get_logger(__name__)


class SlotRefused(LeadershipLost):
    """A slot's task was refused in a way that cost the connection: others are to be tried first."""


class NotSent(Exception):
    """A slot's task was not sent, through its own fault; the leader goes on with the other entries."""


def task_id(app: Celery, entry: str, slot: datetime) -> str:
    """The id of a slot's task: the same whoever sends it, however often."""
    return str(uuid5(NAMESPACE_URL, f"celery-beat:{app.main}:{entry}:{slot.isoformat()}"))


class Sender:
    """Sends the tasks of slots by way of a `Lock`."""

    def __init__(self, app: Celery, lock: LeaderConnection) -> None:
        self._app = app
        self._lock = lock
        self._producer = SlotProducer(lock)

    def send(self, entry: Entry, slot: datetime) -> None:
        """Send the task of a slot; when this returns, the broker has it, and the record that it was sent.

        Raises:
            NotSent: its queue refuses it, its arguments cannot be written, or the like.
            LockLost: the broker did not say whether it has it.
        """
        self._producer.expect(task_id(self._app, entry.name, slot))
        try:
            self._call(entry, slot)
        except (LeadershipLost, NotSent):
            raise
        except Exception as exc:
            self._explain(exc)
        if not self._producer.published:  # the task's own apply_async decided otherwise
            raise NotSent("its apply_async published nothing")

    def _explain(self, exc: Exception) -> None:
        if not self._lock.connected:  # Celery, of a producer without connection
            raise LeadershipLost("the connection was closed") from exc
        why = exc.message if isinstance(exc, FrameworkError) else describe(exc)
        if not self._producer.published:
            raise NotSent(why) from exc
        log.warning("beat: a task was sent, and what follows upon that failed: %s", why)

    def _call(self, entry: Entry, slot: datetime) -> None:
        args, kwargs = entry.call()
        options = {**self._defaults(), **entry.options}
        headers = {"celery_beat_task": True, **(options.pop("headers", None) or {}), **run_headers(entry.name, slot)}
        options |= {"headers": headers, "task_id": task_id(self._app, entry.name, slot)}
        options |= {"producer": self._producer, "retry": False}
        task = self._app.tasks.get(entry.task)
        if task is not None:
            task.apply_async(args, kwargs, **options)
        else:
            self._app.send_task(entry.task, args, kwargs, **options)

    def _defaults(self) -> dict[str, Any]:
        # With results that go back to the caller, nobody would read these: the caller is a scheduler.
        return {"ignore_result": True} if isinstance(self._app.backend, RPCBackend) else {}


# Its stubs name each argument.
Base: Any = Producer


class SlotProducer(Base):  # type: ignore[misc]
    """A producer that copies each slot's task into the state queue, in the same publish.

    Its errors are `NotSent` and `LockLost` alone: nobody on the way takes them for a reason to connect again.
    """

    def __init__(self, lock: LeaderConnection) -> None:
        self._lock = lock
        #: The routing key that only the state queue is bound by.
        self._copy_key = f"{lock.queue}.record.of.a.run.for.the.scheduler.alone"
        self._needed: list[Any] = []
        self._declared: set[Any] = set()
        self._copied: set[str] = set()
        self._expected = ""
        #: Whether the task that was expected has been published.
        self.published = False
        with lock.losing():
            self._declaring = lock.channel()
        super().__init__(lock.line, auto_declare=False)

    def expect(self, number: str) -> None:
        """The task with that id is the next slot's."""
        self._expected, self.published = number, False
        self._needed.clear()

    def maybe_declare(self, entity: Any, *_: Any, **__: Any) -> None:
        """Note that an exchange or queue is needed; it is declared with the rest, where a refusal costs nothing."""
        self._needed.append(entity)

    def publish(self, body: Any, *, headers: Any = None, declare: Sequence[Any] = (), **options: Any) -> Any:
        """Publish; a slot's task is confirmed and copied, anything else (an event, say) is not.

        Raises:
            NotSent: it is refused.
            LockLost: it is not known whether the broker has it.
        """
        with self._lock.losing():
            exchange = _name_of(options.get("exchange"))
            key = self._prepared(exchange, [*self._needed, *declare])
            if (headers or {}).get("id") != self._expected:
                own = {"exchange": exchange, "retry": False, "mandatory": False}
                return super().publish(body, headers=headers, **{**options, **own})
            # The record must not go when the task's time has passed; the worker sees to that.
            own = {"exchange": exchange, "retry": False, "mandatory": True, "expiration": None}
            own["confirm_timeout"] = self._lock.confirm
            headers = {**headers, "BCC": [*(headers.get("BCC") or ()), key]}
            self._publish_slot(body, headers, {**options, **own})
            return None

    def _prepared(self, exchange: str, declare: Sequence[Any]) -> str:
        """See to it that all is there which a publish needs; the routing key of its copy."""
        try:
            self._make_sure(declare)
            return self._key_in(exchange)
        except ChannelError as exc:
            self._start_anew()
            raise NotSent(f"the broker refuses it: {exc.reply_text or describe(exc)}") from exc

    def _publish_slot(self, body: Any, headers: Any, options: dict[str, Any]) -> None:
        try:
            super().publish(body, headers=headers, **options)
        except SerializationError as exc:
            raise NotSent(describe(exc)) from exc
        except MessageNacked as exc:
            raise NotSent("its queue is full, or cannot keep it now") from exc
        except ChannelError as exc:
            if exc.reply_code == NO_ROUTE:
                raise LeadershipLost(f"the queue {self._lock.queue!r} is gone") from exc
            raise SlotRefused(f"the broker refuses it: {exc.reply_text or describe(exc)}") from exc
        self.published = True

    def _key_in(self, exchange: str) -> str:
        """The routing key by which an exchange hands a copy to the state queue."""
        if not exchange:
            return self._lock.queue
        if exchange not in self._copied:
            self._declaring.queue_bind(self._lock.queue, exchange, self._copy_key)
            self._copied.add(exchange)
        return self._copy_key

    def _make_sure(self, declare: Sequence[Any]) -> None:
        """Declare what is needed; and look each time whether the queue is still there.

        The copy finds its queue, so that the broker would not tell if the task found none.
        """
        self._declare(declare)
        if declare:
            try:
                self._declaring.queue_declare(declare[-1].name, passive=True)
            except NotFound:
                self._start_anew()
                self._declare(declare)

    def _declare(self, entities: Sequence[Any]) -> None:
        for entity in entities:
            if entity not in self._declared:
                entity.bind(self._declaring).declare()
                self._declared.add(entity)

    def _start_anew(self) -> None:
        """Another channel to declare on, since the broker closes one over which something was refused."""
        self._declared.clear()
        self._copied.clear()
        self._declaring = self._lock.channel()


def _name_of(exchange: Any) -> str:
    return str(exchange.name if isinstance(exchange, Exchange) else exchange or "")

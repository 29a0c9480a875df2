"""Publishes the tasks of slots, each with the record of its run in one publish, on the leader's connection."""

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
    """A slot's task was refused, and the broker closed the channel: other entries are sent first."""


class NotSent(Exception):
    """A slot's task cannot be sent; the leader continues with the other entries."""


def task_id(app: Celery, entry: str, slot: datetime) -> str:
    """Return the id of a slot's task, the same on every server."""
    return str(uuid5(NAMESPACE_URL, f"celery-beat:{app.main}:{entry}:{slot.isoformat()}"))


class Sender:
    """Sends the tasks of slots on a leader's connection."""

    def __init__(self, app: Celery, connection: LeaderConnection) -> None:
        self._app = app
        self._connection = connection
        self._producer = SlotProducer(connection)

    def send(self, entry: Entry, slot: datetime) -> None:
        """Send the task of a slot; once this returns, the broker has it, and the record of its run.

        Raises:
            NotSent: its queue refuses it, its arguments cannot be serialized, or the like.
            LeadershipLost: the broker did not confirm it.
        """
        self._producer.expect(task_id(self._app, entry.name, slot))
        try:
            self._call(entry, slot)
        except (LeadershipLost, NotSent):
            raise
        except Exception as exc:
            self._raise_or_log(exc)
        if not self._producer.published:  # the task's own apply_async decided otherwise
            raise NotSent("its apply_async published nothing")

    def _raise_or_log(self, exc: Exception) -> None:
        if not self._connection.is_connected:  # Celery, of a producer without connection
            raise LeadershipLost("the connection was closed") from exc
        why = exc.message if isinstance(exc, FrameworkError) else describe(exc)
        if not self._producer.published:
            raise NotSent(why) from exc
        log.warning("beat: a task was sent, and a later step of its call failed: %s", why)

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
        #: Whether the expected task has been published.
        self.published = False
        with connection.converting_errors():
            self._declare_channel = connection.open_channel()
        super().__init__(connection.channel, auto_declare=False)

    def expect(self, task_id: str) -> None:
        """Treat the next publish of the task with that id as the slot's."""
        self._expected, self.published = task_id, False
        self._needed.clear()

    def maybe_declare(self, entity: Any, *_: Any, **__: Any) -> None:
        """Remember that an exchange or queue is needed; it is declared with the rest, on a separate channel."""
        self._needed.append(entity)

    def publish(self, body: Any, *, headers: Any = None, declare: Sequence[Any] = (), **options: Any) -> Any:
        """Publish; a slot's task is confirmed and copied, anything else (an event, say) is not.

        Raises:
            NotSent: it is refused.
            LeadershipLost: the broker did not confirm it.
        """
        with self._connection.converting_errors():
            exchange = _name_of(options.get("exchange"))
            key = self._declare_for(exchange, [*self._needed, *declare])
            if (headers or {}).get("id") != self._expected:
                own = {"exchange": exchange, "retry": False, "mandatory": False}
                return super().publish(body, headers=headers, **{**options, **own})
            # The record must not expire with the task; the worker checks its ``expires``.
            own = {"exchange": exchange, "retry": False, "mandatory": True, "expiration": None}
            own["confirm_timeout"] = self._connection.confirm_timeout
            headers = {**headers, "BCC": [*(headers.get("BCC") or ()), key]}
            self._publish_slot(body, headers, {**options, **own})
            return None

    def _declare_for(self, exchange: str, declare: Sequence[Any]) -> str:
        """Declare all that a publish needs; return the routing key of its copy."""
        try:
            self._declare_and_check(declare)
            return self._key_in(exchange)
        except ChannelError as exc:
            self._reset_channel()
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
                raise LeadershipLost(f"the queue {self._connection.queue!r} is gone") from exc
            raise SlotRefused(f"the broker refuses it: {exc.reply_text or describe(exc)}") from exc
        self.published = True

    def _key_in(self, exchange: str) -> str:
        """Return the routing key by which an exchange routes a copy to the state queue."""
        if not exchange:
            return self._connection.queue
        if exchange not in self._copied:
            self._declare_channel.queue_bind(self._connection.queue, exchange, self._copy_key)
            self._copied.add(exchange)
        return self._copy_key

    def _declare_and_check(self, declare: Sequence[Any]) -> None:
        """Declare exchanges and queues, and check each time that the task's queue still exists.

        The broker would not return the message as unroutable, since its copy is always routed.
        """
        self._declare(declare)
        if declare:
            try:
                self._declare_channel.queue_declare(declare[-1].name, passive=True)
            except NotFound:
                self._reset_channel()
                self._declare(declare)

    def _declare(self, entities: Sequence[Any]) -> None:
        for entity in entities:
            if entity not in self._declared:
                entity.bind(self._declare_channel).declare()
                self._declared.add(entity)

    def _reset_channel(self) -> None:
        """Open another channel for declarations, since the broker closes one on which it refused something."""
        self._declared.clear()
        self._copied.clear()
        self._declare_channel = self._connection.open_channel()


def _name_of(exchange: Any) -> str:
    return str(exchange.name if isinstance(exchange, Exchange) else exchange or "")

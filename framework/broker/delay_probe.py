"""Finds queues of delays that hold messages for longer than they can: a probe sent through them does not come out.

A passive declaration does not show such messages: RabbitMQ does not count those that it cannot dead-letter.
"""

import time
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from framework.broker.delays import bind_delayed, bind_step, level_queue, route, step_queue

__all__ = ["overdue_queues"]

#: The levels that a probe is sent through: it stays for a second in the longest.
PROBED_LEVELS = range(3)

#: The queue of probes that come out when nobody waits for them; it drops every message.
SINK = "celery.probe"


def overdue_queues(connection: Any, names: Iterable[str], timeout: float) -> list[str]:
    """Return the levels and step queues through which a probe does not come within ``timeout`` seconds.

    Args:
        connection: kombu's, open, to a broker that has the levels.
        names: Task queues that have a step queue.
        timeout: Seconds to wait for the probes.
    """
    with connection.channel() as channel:
        channel.queue_declare(SINK, durable=True, auto_delete=False, arguments={"x-max-length": 0})
        mine = channel.queue_declare("", exclusive=True).queue
        steps = [step_queue(name).name for name in names]
        for queue in (SINK, mine):
            bind_delayed(SINK, queue, channel)
            for step in steps:
                bind_step(step, queue, channel)
        waiting = {}
        for level in PROBED_LEVELS:
            name = level_queue(level).name
            waiting[_publish(channel, *route(2**level / 4, SINK))] = name
        for step in steps:
            waiting[_publish(channel, "", step)] = step
        channel.basic_consume(mine, no_ack=True, callback=lambda probe: waiting.pop(_text(probe.body), None))
        _drain(connection, waiting, time.monotonic() + timeout)
        return list(waiting.values())


def _publish(channel: Any, exchange: str, key: str) -> str:
    number = str(uuid4())
    message = channel.prepare_message(number.encode(), properties={"delivery_mode": 2})
    channel.basic_publish(message, exchange=exchange, routing_key=key)
    return number


def _drain(connection: Any, waiting: dict[str, str], deadline: float) -> None:
    while waiting and (left := deadline - time.monotonic()) > 0:
        try:
            connection.drain_events(timeout=left)
        except TimeoutError:
            return


def _text(body: bytes | str) -> str:
    return body if isinstance(body, str) else body.decode()

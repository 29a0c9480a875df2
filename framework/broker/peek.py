"""Reads the oldest message of a queue, which stays there for all other readers."""

from typing import Any

import amqp
from amqp import spec

__all__ = ["peek"]


def peek(channel: Any, queue: str) -> amqp.Message | None:
    """Return the oldest ready message of a queue, which stays in its place; None where there is none right now.

    AMQP has no such method. A message that was got is hidden from other readers until it is requeued, so both requests
    are sent together: a process that is suspended before it reads the answer hides the message from no other. The third
    one is answered once the message has been requeued, so that all later readers see it. It is for
    classic queues, which do not count deliveries. All unacknowledged messages of the channel are requeued.

    Raises:
        amqp.exceptions.NotFound: there is no such queue.
    """
    if (peek_at := getattr(channel, "peek", None)) is not None:  # the embedded broker's own
        message: amqp.Message | None = peek_at(queue)
        return message
    channel.send_method(spec.Basic.Get, "Bsb", (0, queue, False))
    channel.send_method(spec.Basic.Nack, "Lbb", (0, True, True))  # 0: all that this channel was sent, requeued
    channel.send_method(spec.Basic.Qos, "lBb", (0, 0, False))  # 0: no limit, as before
    answer = channel.wait([spec.Basic.GetOk, spec.Basic.GetEmpty], returns_tuple=True)
    channel.wait(spec.Basic.QosOk)
    if len(answer) < 2:  # empty
        return None
    *_, count, message = answer
    message.delivery_info = {"message_count": count}
    return message

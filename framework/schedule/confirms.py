"""Publishes on a channel whose confirms are read together, so that a publish need not wait for the last one's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import amqp
from amqp.exceptions import MessageNacked

__all__ = ["Confirms"]


class Confirms:
    """The confirms of a channel; it replaces the channel's ``basic_publish``.

    Args:
        channel: a new channel.
        drain: reads from the connection for so many seconds.
        timeout: seconds in which the broker confirms a publish.
    """

    def __init__(self, channel: Any, drain: Callable[[float], None], timeout: float) -> None:
        self._channel = channel
        self._publish = type(channel).basic_publish  # that of the instance waits for each confirm
        self._drain = drain
        self._timeout = timeout
        self._last_tag = 0
        self._open: set[int] = set()
        self._nacked: set[int] = set()
        self._deferred: dict[int, Any] = {}
        self._defer_as: Any = None
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.basic_publish = self.publish

    @contextmanager
    def deferring(self, what: Any) -> Iterator[None]:
        """Let the publish in the block return before it is confirmed; `refused` says what it was for."""
        self._defer_as = what
        try:
            yield
        finally:
            self._defer_as = None

    def publish(self, message: amqp.Message, *args: Any, **options: Any) -> None:
        """Publish a message, and wait for its confirm outside `deferring`.

        Raises:
            amqp.exceptions.MessageNacked: a queue refused it.
            TimeoutError: it was not confirmed in time.
        """
        options.pop("confirm_timeout", None)  # it is that of the connection
        tag = self._last_tag + 1
        self._open.add(tag)
        try:
            self._publish(self._channel, message, *args, **options)
        except BaseException:
            self._open.discard(tag)
            raise
        self._last_tag = tag
        if self._defer_as is not None:
            self._deferred[tag] = self._defer_as
            return
        self._wait_for({tag})
        if tag in self._nacked:
            self._nacked.remove(tag)
            raise MessageNacked

    def refused(self) -> list[Any]:
        """Wait until all that was deferred is confirmed; return what was refused, the last one first.

        Raises:
            TimeoutError: something was not confirmed in time.
        """
        self._wait_for(set(self._deferred))
        tags = sorted(self._nacked & self._deferred.keys(), reverse=True)
        found = [self._deferred[tag] for tag in tags]
        self._nacked.difference_update(tags)
        self._deferred.clear()
        return found

    def _wait_for(self, tags: set[int]) -> None:
        deadline = monotonic() + self._timeout
        while tags & self._open:
            self._drain(max(deadline - monotonic(), 0.001))

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._open -= self._meant(tag, multiple)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._nacked |= self._meant(tag, multiple)
        self._open -= self._nacked

    def _meant(self, tag: int, multiple: bool) -> set[int]:
        return {each for each in self._open if each <= tag} if multiple else {tag}

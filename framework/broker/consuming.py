"""A consumer as its own process sees it: whom to call, and how much it may hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framework.broker.delivering import Delivering

__all__ = ["Consumer"]

_UNLIMITED = 1 << 30


@dataclass(eq=False, slots=True)
class Consumer:
    """A consumer of a channel; ``held`` counts what it was given, or lies ready for it, and is not settled yet."""

    id: int
    channel: "Delivering"
    queue: str
    tag: str
    callback: Callable[[Any], object]
    on_cancel: Callable[[str], object] | None
    no_ack: bool
    prefetch: int
    held: int = 0
    starved: bool = False
    is_full: bool = False

    def room(self) -> int:
        """How many messages more it may be given."""
        if not self.channel.active:
            return 0
        if self.no_ack:
            return _UNLIMITED
        own = self.prefetch - self.held if self.prefetch else _UNLIMITED
        shared = self.channel.prefetch - self.channel.held if self.channel.prefetch else _UNLIMITED
        return min(own, shared)

    def hold(self, count: int) -> None:
        """Count messages that were taken for it, or with a minus settled."""
        if not self.no_ack:
            self.held += count
            self.channel.held += count

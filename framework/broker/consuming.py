"""A consumer as its own process sees it: whom to call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framework.broker.delivering import Delivering

__all__ = ["Consumer"]


@dataclass(eq=False, slots=True)
class Consumer:
    """A consumer of a channel; ``unlimited`` when it has no prefetch count, ``turn`` is the last it has read."""

    id: int
    channel: "Delivering"
    counted: bool
    tag: str
    callback: Callable[[Any], object]
    on_cancel: Callable[[str], object] | None
    no_ack: bool
    unlimited: bool
    turn: int = 0

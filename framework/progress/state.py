"""The states of a task: what it does, how far it is, how it ended.

A task reports its state when it says ``@celery.task(track=True)``, or from its first ``progress()`` on. No result
backend is needed: the broker keeps the last state of each task and delivers every state to those who watch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

__all__ = ["FINAL", "Progress", "State", "Status", "Step"]


Status = Literal["queued", "started", "progress", "retry", "success", "failure", "revoked"]

#: What a task ends in.
FINAL = frozenset({"success", "failure", "revoked"})


@dataclass(frozen=True, slots=True)
class Step:
    """One loop of a task, or one part of its work.

    ``done`` of ``total`` (None: unknown), the last ``message``, the ``rate`` (done in a second) and the ``remaining``
    seconds as far as they can be told.
    """

    name: str
    done: float
    total: float | None = None
    message: str = ""
    rate: float | None = None
    remaining: float | None = None

    @property
    def fraction(self) -> float | None:
        """How much of it is done, 0 to 1; None where its total is unknown."""
        if self.total is None:
            return None
        return min(max(self.done / self.total, 0.0), 1.0) if self.total else 1.0

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it, with its ``fraction``."""
        return {
            "name": self.name,
            "done": self.done,
            "total": self.total,
            "message": self.message,
            "rate": self.rate,
            "remaining": self.remaining,
            "fraction": self.fraction,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(**{name: fields[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Progress:
    """What is done of how much: the steps that the task is in, the outermost first."""

    steps: tuple[Step, ...]

    @property
    def fraction(self) -> float | None:
        """How much of the outermost step is done, 0 to 1, with the inner ones' part of its current item."""
        part = 0.0
        for step in reversed(self.steps):
            if step.fraction is None:
                return None if step is self.steps[0] else self.steps[0].fraction
            part = min(step.fraction + part / step.total, 1.0) if step.total else step.fraction
        return part if self.steps else None

    @property
    def remaining(self) -> float | None:
        """Seconds until the outermost step is done, as far as they can be told."""
        return self.steps[0].remaining if self.steps else None

    @property
    def message(self) -> str:
        """The message of the innermost step that has one."""
        return next((step.message for step in reversed(self.steps) if step.message), "")

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: the ``steps``, and what they are in all."""
        return {
            "steps": [step.as_dict() for step in self.steps],
            "fraction": self.fraction,
            "remaining": self.remaining,
            "message": self.message,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(tuple(Step.from_dict(step) for step in fields["steps"]))


@dataclass(frozen=True, slots=True)
class State:
    """What was last heard of a task.

    Args:
        id: The task's id.
        task: The task's name.
        status: What it is doing, or how it ended.
        number: Grows with each state of a task, so that two can be put in order.
        at: When it was so, in seconds of Unix time.
        attempt: The first run is 1, each retry one more.
        progress: How far it is, where it says so.
        retry_at: When a ``retry`` runs, in seconds of Unix time; None is at once.
        result: What a ``success`` returned, as JSON has it; None where that is too large.
        error: Why it failed, or will be tried again: a sentence for the one who waits, never a traceback.
    """

    id: str
    task: str
    status: Status
    number: int
    at: float
    attempt: int = 1
    progress: Progress | None = None
    retry_at: float | None = None
    result: Any | None = None
    error: str | None = None

    @property
    def final(self) -> bool:
        """Whether the task has ended, so that nothing more will be told of it."""
        return self.status in FINAL

    def follows(self, other: "State | None") -> bool:
        """Whether this is news to whoever knows the ``other`` one."""
        return other is None or (not other.final and (self.final or self.number > other.number))

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it, with ``final``."""
        return {
            "id": self.id,
            "task": self.task,
            "status": self.status,
            "number": self.number,
            "at": self.at,
            "attempt": self.attempt,
            "progress": self.progress and self.progress.as_dict(),
            "retry_at": self.retry_at,
            "result": self.result,
            "error": self.error,
            "final": self.final,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        values = {name: fields[name] for name in cls.__slots__}
        return cls(**{**values, "progress": values["progress"] and Progress.from_dict(values["progress"])})

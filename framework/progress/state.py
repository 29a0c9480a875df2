"""The state of a task: its status, its progress, its result or error.

A task with ``@celery.task(track=True)`` reports its states; any other from its first ``progress()`` on. No result
backend is needed: the broker stores the last state of each task and delivers every state to its watchers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

__all__ = ["FINAL", "Progress", "State", "Status", "Step", "finite"]


Status = Literal["queued", "started", "progress", "retry", "success", "failure", "revoked"]

#: The statuses in which a task ends.
FINAL = frozenset({"success", "failure", "revoked"})


def finite(number: float | None) -> float | None:
    """Return a number, or None where it is infinite, no number (NaN), or larger than the largest float.

    Raises:
        TypeError: it is another object.
    """
    try:
        return number if number is not None and math.isfinite(number) else None
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True)
class Step:
    """A loop of a task, or another part of its work.

    ``done`` of ``total`` (None: unknown), the last ``message``, the ``rate`` (done in a second) and the ``remaining``
    seconds, both None where they are unknown.
    """

    name: str
    done: float
    total: float | None = None
    message: str = ""
    rate: float | None = None
    remaining: float | None = None

    @property
    def fraction(self) -> float | None:
        """The part that is done, 0 to 1; None where the total is unknown."""
        if finite(self.total) is None or finite(self.done) is None or self.total is None:
            return None
        return min(max(self.done / self.total, 0.0), 1.0) if self.total else 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, with the ``fraction``."""
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
        """Make the object that `as_dict` described, also with fields that another version added or left out."""
        numbers: dict[str, Any] = {name: finite(fields.get(name)) for name in ("total", "rate", "remaining")}
        texts: dict[str, Any] = {name: str(fields.get(name) or "") for name in ("name", "message")}
        return cls(done=finite(fields.get("done")) or 0, **texts, **numbers)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a task: the steps that it is in, the outermost first."""

    steps: tuple[Step, ...]

    @property
    def fraction(self) -> float | None:
        """The part of the outermost step that is done, 0 to 1; inner steps count as part of its current item."""
        part = 0.0
        for step in reversed(self.steps):
            if step.fraction is None:
                return None if step is self.steps[0] else self.steps[0].fraction
            part = min(step.fraction + part / step.total, 1.0) if step.total else step.fraction
        return part if self.steps else None

    @property
    def remaining(self) -> float | None:
        """Seconds until the outermost step is done; None where they are unknown."""
        return self.steps[0].remaining if self.steps else None

    @property
    def message(self) -> str:
        """The message of the innermost step that has one."""
        return next((step.message for step in reversed(self.steps) if step.message), "")

    def as_dict(self) -> dict[str, Any]:
        """Return the ``steps`` as JSON values, with the ``fraction``, the ``remaining`` seconds and the ``message``."""
        return {
            "steps": [step.as_dict() for step in self.steps],
            "fraction": self.fraction,
            "remaining": self.remaining,
            "message": self.message,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Make the object that `as_dict` described, also with fields that another version added or left out."""
        return cls(tuple(Step.from_dict(step) for step in fields.get("steps", ())))


@dataclass(frozen=True, slots=True)
class State:
    """The state of a task at one time.

    Args:
        id: The task's id.
        task: The task's name.
        status: What the task does, or how it ended.
        number: Grows with each state of a task: it orders them.
        at: When the state was reported, in seconds of Unix time.
        attempt: The first run is 1, each retry one more.
        progress: The progress, where the task reports it.
        retry_at: When a ``retry`` runs, in seconds of Unix time; None means at once.
        result: The result of a ``success`` as JSON values; None where it is too large.
        error: Why the task failed or is retried: a sentence for the user who waits, never a traceback.
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
        """Whether the task has ended, so that no state follows."""
        return self.status in FINAL

    def follows(self, other: "State | None") -> bool:
        """Return whether this state is newer than the ``other`` one."""
        return other is None or (not other.final and (self.final or self.number > other.number))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, with ``final``."""
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
        """Make the object that `as_dict` described, also with fields that another version added or left out.

        Raises:
            TypeError, ValueError, AttributeError: there is no ``id``, or a field is not as `as_dict` writes it.
        """
        known: dict[str, Any] = {"task": "", "status": "started", "number": 0, "at": 0.0}
        known |= {name: fields[name] for name in cls.__slots__ if name in fields}
        progress = known.get("progress")
        exact = {"status": str(known["status"]), "number": int(known["number"]), "at": float(known["at"])}
        return cls(**{**known, **exact, "progress": Progress.from_dict(progress) if progress else None})

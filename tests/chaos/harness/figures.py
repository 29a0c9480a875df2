"""Counts the results of the calls of a row."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Call:
    """One call of a task; ``ok`` is None while (or because) it has not returned."""

    number: int
    ok: bool | None
    seconds: float = 0.0
    at: float = 0.0
    id: str = ""
    error: str = ""


@dataclass(frozen=True)
class Figures:
    """The figures of a row of the table."""

    lost: int
    duplicated: int
    raised: int
    slowest: float
    restarted: int = 0
    registered: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)
    missing: Sequence[int] = field(default=(), repr=False)


def figures_of(
    calls: Sequence[Call], started: Sequence[int], done: Sequence[int], registered: Collection[int]
) -> Figures:
    """Count the calls: lost is one that returned, and whose task neither completed nor is in the failed-task queue."""
    finished = Counter(done)
    accepted = [call.number for call in calls if call.ok]
    missing = [number for number in accepted if number not in finished and number not in registered]
    return Figures(
        lost=len(missing),
        duplicated=sum(times - 1 for times in finished.values()),
        raised=sum(call.ok is False for call in calls),
        slowest=max((call.seconds for call in calls), default=0.0),
        restarted=max(0, len(started) - len(done)),
        registered=len(set(accepted) & set(registered)),
        refusals=dict(Counter(call.error.split(":")[0] for call in calls if call.ok is False)),
        missing=missing,
    )

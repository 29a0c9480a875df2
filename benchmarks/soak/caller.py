"""A process that calls all kinds of tasks: ``python caller.py CALLER COUNT SECONDS``.

It makes at least ``COUNT`` calls, for at least ``SECONDS``, while less than `OUTSTANDING` of its tasks have not ended.
It ends when its input is closed.
"""

import json
import sys
import time
from collections import Counter

import workload
from records import append, count
from workload import FOLDER

from framework.errors import OverLimit
from framework.progress import last_state

#: Tasks of one caller that are queued, delayed or running at a time.
OUTSTANDING = 200
#: Calls with one visitor, who then comes no more.
CALLS_OF_A_VISITOR = 1000
OUTAGE_SECONDS = 2


class Caller:
    """Makes the calls, one after the other, and records the number of each that was accepted."""

    def __init__(self, caller: int) -> None:
        self.caller = caller
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self.result = self.state_of = None
        self.unique_id = ""

    def run(self, total: int, seconds: float) -> None:
        end, number = time.monotonic() + seconds, 0
        while number < total or time.monotonic() < end:
            self.wait_until_some_end()
            self.call(number)
            number += 1
        self.read_result()

    def wait_until_some_end(self) -> None:
        while self.counts["accepted"] - self.ended() >= OUTSTANDING:
            time.sleep(0.01)

    def ended(self) -> int:
        return count(FOLDER, "runs", self.caller) + count(FOLDER, "dropped", self.caller)

    def call(self, number: int) -> None:
        self.counts["calls"] += 1
        try:
            accepted = self.kind_of(number)(number)
        except OverLimit:
            self.counts["over the limit"] += 1
        except Exception as exc:  # reported, and the run fails
            self.counts["raised"] += 1
            self.errors = [*self.errors[-9:], f"call {number}: {type(exc).__name__}: {exc}"]
        else:
            if accepted:
                self.counts["accepted"] += 1
                append(FOLDER, "accepted", self.caller, number)

    def kind_of(self, number: int):
        """Return the method for a call: nine of ten are plain, paced ones come twenty at a time."""
        if number % 2000 < 20:
            return self.paced
        rare = {56: self.broken, 156: self.outage}
        common = {50: self.retried, 51: self.delayed, 52: self.limited, 53: self.unique, 54: self.unique}
        common |= {55: self.tracked, 57: self.answered}
        return rare.get(number % 400) or common.get(number % 100) or self.plain

    def plain(self, number: int) -> bool:
        workload.plain.delay(self.caller, number)
        return True

    def delayed(self, number: int) -> bool:
        workload.plain.apply_async((self.caller, number), countdown=1 + number % 3)
        return True

    def retried(self, number: int) -> bool:
        workload.retried.delay(self.caller, number)
        return True

    def broken(self, number: int) -> bool:
        workload.broken.delay(self.caller, number)
        return True

    def outage(self, number: int) -> bool:
        workload.outage.delay(self.caller, number, time.time() + OUTAGE_SECONDS)
        return True

    def paced(self, number: int) -> bool:
        workload.paced.delay(self.caller, number)
        return True

    def limited(self, number: int) -> bool:
        workload.limited.delay(self.caller, number, f"{self.caller}-{number // CALLS_OF_A_VISITOR}")
        return True

    def unique(self, number: int) -> bool:
        """Call a unique task: each second call is a duplicate where the first one's task has not ended."""
        before = self.unique_id
        key = f"{self.caller}-{number // 100 % 10}"
        self.unique_id = workload.unique.delay(self.caller, number, key).id
        self.counts["duplicates"] += before == self.unique_id
        return before != self.unique_id

    def tracked(self, number: int) -> bool:
        """Call a tracked task, and read the state of the one before."""
        if self.state_of:
            self.counts["states read"] += last_state(self.state_of) is not None
        self.state_of = workload.tracked.delay(self.caller, number).id
        return True

    def answered(self, number: int) -> bool:
        """Call a task with a result, and read the result of the one before, which has ended meanwhile."""
        self.read_result()
        self.result = (number, workload.answered.delay(self.caller, number))
        return True

    def read_result(self) -> None:
        if self.result:
            number, result = self.result
            self.result = None
            value = result.get(timeout=60)
            if value != number:
                raise ValueError(f"the result of call {number} is {value}")
            self.counts["results read"] += 1


def main(caller: int, total: int, seconds: float) -> None:
    calls = Caller(caller)
    calls.run(total, seconds)
    print(json.dumps({"counts": calls.counts, "errors": calls.errors}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

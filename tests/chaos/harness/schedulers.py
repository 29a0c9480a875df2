"""Schedulers that are killed and stopped, and the count of the tasks that they sent."""

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from harness.figures import Figures
from harness.rig import Rig, wait_until
from kombu import Connection

#: Seconds for what takes less than one where nothing else runs.
WAIT = 120
TASK = "probe.tasks.chaos.work"
LEADS = re.compile(r"^([\d.]+) (\d+) beat: \S+ leads", re.MULTILINE)
SENDING = re.compile(r"^([\d.]+) \d+ beat: sending \S+ for '(.+)', due at (\S+)$", re.MULTILINE)


class Schedulers:
    """``count`` schedulers of a rig's project, with an entry for each period in seconds.

    Where there are ``urls``, each scheduler has the next one of them.
    """

    def __init__(self, rig: Rig, count: int, *periods: float, urls: Collection[str] = ()) -> None:
        self.rig = rig
        self.periods = {f"each {period:g} s": period for period in periods}
        own = {"missed": "all"} if rig.ours else {}
        rig.configure(
            beat_schedule={
                name: {"task": TASK, "schedule": period, "args": (0,), **own} for name, period in self.periods.items()
            }
        )
        self.log = rig.folder / "beats.log"
        self.log.touch()
        self.failovers: list[float] = []
        application = "framework.celery.celery" if rig.ours else "probe.application"
        program = str(Path(__file__).with_name("beats.py"))
        command = [sys.executable, program, application, str(count), str(self.log), *urls]
        with (rig.folder / "beats.output").open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=rig.folder, env=rig.environment(), stdin=subprocess.PIPE, stdout=output, stderr=output
            )
        self.began = time.time()
        wait_until(lambda: self.text.count(" begins\n") == count, 180, "the schedulers")
        if rig.ours:
            wait_until(lambda: self.text.count(" stands by\n") == count and self.leaders(), 180, "their places in line")

    @property
    def text(self) -> str:
        return self.log.read_text()

    def leaders(self) -> list[tuple[float, int]]:
        """Return the start time and the process id of each leadership."""
        return [(float(at), int(pid)) for at, pid in LEADS.findall(self.text)]

    @property
    def leader(self) -> int:
        return self.leaders()[-1][1]

    def pids(self) -> list[int]:
        """Return the process ids of the schedulers that run."""
        pids = [int(line.split()[1]) for line in self.text.splitlines() if line.endswith(" begins")]
        return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists()]

    def fork(self) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def kill_leader(self, seconds: float = WAIT) -> None:
        """Kill the leader with SIGKILL, and wait for the next one."""
        at, count = time.time(), len(self.leaders())
        os.kill(self.leader, signal.SIGKILL)
        self._wait_for_leader(count, at, seconds)

    def kill_only(self) -> None:
        """Kill the only scheduler with SIGKILL."""
        (pid,) = self.pids()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.pids(), WAIT, "its end")

    def stop_leader(self, seconds: float) -> None:
        """Stop the leader with SIGSTOP, and continue it after ``seconds``, when another one leads."""
        at, count, pid = time.time(), len(self.leaders()), self.leader
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        self._wait_for_leader(count, at, WAIT)
        os.kill(pid, signal.SIGCONT)

    def kill_broker(self, away: float) -> None:
        assert self.rig.node
        count = len(self.leaders())
        self.rig.node.kill()
        time.sleep(away)
        self.rig.node.start()
        self._wait_for_leader(count, time.time(), WAIT)

    def _wait_for_leader(self, count: int, since: float, seconds: float) -> None:
        wait_until(lambda: len(self.leaders()) > count, seconds, "another leader")
        self.failovers.append(self.leaders()[count][0] - since)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(WAIT)
        if self.process.stdin:
            self.process.stdin.close()
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.pids(), WAIT, "the end of the schedulers")

    def finish(self, after: float = 0.0) -> Figures:
        """Wait until the slots due ``after`` seconds were sent, stop the schedulers, and count the queue's messages."""
        stopped = time.time() + after
        if self.rig.ours:
            wait_until(lambda: self._sent_up_to() >= stopped, WAIT + after, "the latest slots")
        self.end()
        return self._ours() if self.rig.ours else self._plain(stopped)

    def _sent_up_to(self) -> float:
        latest: dict[str, float] = dict.fromkeys(self.periods, 0.0)
        for _, entry, slot in SENDING.findall(self.text):
            latest[entry] = datetime.fromisoformat(slot).timestamp()
        return min(latest.values())

    def _ours(self) -> Figures:
        slots: dict[str, Counter[int]] = defaultdict(Counter)
        for headers in self._messages():
            name, slot = headers["x-schedule-entry"], datetime.fromisoformat(headers["x-schedule-slot"])
            slots[name][round(slot.timestamp() / self.periods[name])] += 1
        missed = sum(max(numbers) - min(numbers) + 1 - len(numbers) for numbers in slots.values())
        twice = sum(times - 1 for times in chain(*(numbers.values() for numbers in slots.values())))
        self.slots = sum(map(len, slots.values()))
        return Figures(lost=missed, duplicated=twice, raised=0, slowest=max(self.failovers, default=0.0))

    def _plain(self, stopped: float) -> Figures:
        """Count plain Celery's messages, which name no slot, against the number expected for the elapsed time."""
        sent = sum(1 for _ in self._messages())
        self.slots = expected = sum(int((stopped - self.began) / period) for period in self.periods.values())
        return Figures(lost=max(0, expected - sent), duplicated=max(0, sent - expected), raised=0, slowest=0.0)

    def _messages(self) -> list[dict[str, Any]]:
        with Connection(self.rig.url) as connection:
            channel = connection.channel()
            found = []
            while (message := channel.basic_get("celery", no_ack=True)) is not None:
                found.append(dict(message.headers or {}))
        return found

    def remarks(self) -> list[str]:
        late = [float(at) - datetime.fromisoformat(slot).timestamp() for at, _, slot in SENDING.findall(self.text)]
        found = []
        if self.failovers:
            median, most = statistics.median(self.failovers), max(self.failovers)
            found.append(f"fail-over {median * 1000:.0f} ms, at most {most * 1000:.0f}")
        if late:
            found.append(f"late by {statistics.median(late) * 1000:.0f} ms, at most {max(late):.1f} s")
        return found

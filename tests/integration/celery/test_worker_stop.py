"""A worker that is stopped repeats no task that it runs to its end."""

import os
import signal
from pathlib import Path

WAIT = 60


def pool_process(worker):
    """Return the id of the process of a worker's pool."""
    (child,) = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children").read_text().split()
    return int(child)


def test_a_task_whose_process_begins_while_the_worker_stops_runs_once(start_worker, call, noted, eventually):
    worker = start_worker("-c1", "-l", "debug")
    process = pool_process(worker)
    os.kill(process, signal.SIGSTOP)
    call("write", "once").apply_async()
    eventually(lambda: "any-name.write" in worker.output and "] received" in worker.output)

    worker.process.terminate()
    eventually(lambda: "Stopping Pool" in worker.output)
    os.kill(process, signal.SIGCONT)
    worker.process.wait(WAIT)
    start_worker("-c1")

    assert call("add", 1, 1).apply_async().get(WAIT) == 2
    assert noted("written") == ["once"]

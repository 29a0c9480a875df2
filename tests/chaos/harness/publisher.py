"""A program that calls a task many times and logs the result of each call.

``python publisher.py LOG``, with the plan as JSON on the first line of its input. It logs the start and the end of each
call, so that a call that never returned is counted too. It ends with the process that started it.
"""

import json
import os
import sys
import threading
import time
from importlib import import_module

sys.path.insert(0, "")


def main(log: str) -> None:
    plan = json.loads(sys.stdin.readline())
    module, _, name = plan["task"].rpartition(".")
    task = getattr(import_module(f"probe.tasks.{module or 'chaos'}"), name)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(**line) -> None:
        os.write(file, (json.dumps(line) + "\n").encode())

    began = time.monotonic()
    for number in range(plan["first"], plan["first"] + plan["count"]):
        if number - plan["first"] == plan["pause_after"]:
            write(paused=True)
            sys.stdin.readline()
            began = time.monotonic() - (number - plan["first"]) / (plan["rate"] or 1)
        if plan["rate"]:
            time.sleep(max(0.0, began + (number - plan["first"]) / plan["rate"] - time.monotonic()))
        call(task, number, plan, write)
    write(finished=True)


def call(task, number, plan, write) -> None:
    write(begin=number)
    at, start = time.time(), time.monotonic()
    try:
        sent = task.apply_async((number, *plan["args"]), **plan["options"])
    except Exception as exc:
        write(end=number, ok=False, seconds=time.monotonic() - start, at=at, error=f"{type(exc).__name__}: {exc}"[:300])
    else:
        write(end=number, ok=True, seconds=time.monotonic() - start, at=at, id=sent.id)


def exit_with_parent() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=exit_with_parent, daemon=True).start()
    main(sys.argv[1])

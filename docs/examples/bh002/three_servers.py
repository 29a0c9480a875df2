"""Three servers with one schedule: how often does a task run that is due each second?"""

import os
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

SERVERS = ("one", "two", "three")
SECONDS = 5


def runs_a_second(*options):
    with TemporaryDirectory() as folder:
        logs = [Path(folder, f"{name}.log") for name in SERVERS]
        servers = [start(log, *options) for log in logs]
        try:
            while not all(" ready." in log.read_text() for log in logs):
                time.sleep(0.1)
            time.sleep(SECONDS)  # they work off what was due before they were ready
            before = greetings(logs)
            time.sleep(SECONDS)
            return round((greetings(logs) - before) / SECONDS)
        finally:
            stop(servers)


def start(log, *options):
    """A worker with a scheduler inside, under the name of one server."""
    command = ["framework", "worker", "-B", "--hostname", log.stem, "--concurrency", "1", "--loglevel", "INFO"]
    with log.open("wb") as file:
        return subprocess.Popen(
            [*command, "--schedule", str(log.with_suffix(".schedule")), *options],
            env={**os.environ, "CELERY_CONFIG_MODULE": "every_second"},
            stdout=file,
            stderr=file,
        )


def stop(servers):
    for server in servers:
        server.terminate()
    for server in servers:
        server.wait()


def greetings(logs):
    return sum(log.read_text().count("] Hello") for log in logs)


if __name__ == "__main__":
    print("Celery's scheduler:  ", runs_a_second("--scheduler", "celery.beat:PersistentScheduler"), "runs each second")
    print("This one's scheduler:", runs_a_second(), "run each second")

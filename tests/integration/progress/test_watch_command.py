"""``framework watch``: the progress of a task in a terminal, or line by line, on both brokers."""

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from framework.progress import last_state
from framework.progress.publisher import close_publisher
from framework.progress.run import Run

WAIT = 60

pytestmark = pytest.mark.timeout(300)

MORE_TASKS = """

from framework.errors import FrameworkError
from framework.progress import progress

@celery.task(track=True)
def report(count):
    for number in progress(range(count), "reading"):
        if number == count // 2:
            note("half", number)
            while not (HERE / "go").exists():
                time.sleep(0.01)
    return {"rows": count}

@celery.task(track=True)
def refused():
    raise FrameworkError("The file has no rows.")
"""


@pytest.fixture
def project(project):
    file = project / "probe/tasks/any-name.py"
    file.write_text(file.read_text() + MORE_TASKS)
    return project


@pytest.fixture
def watching(project, environment):
    """Start `framework watch` in the project."""
    started: list[subprocess.Popen] = []

    def start(*args, **streams):
        command = [Path(sys.executable).parent / "framework", "watch", *args]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        started.append(subprocess.Popen(command, cwd=project, env=environment, text=True, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def test_the_output_has_the_bar_and_ends_with_the_task(start_worker, call, app, watching, project, eventually):
    start_worker()
    sent = call("report", 10).apply_async()
    # The command prints progress once a second: an earlier state would hide this one.
    eventually(lambda: (state := last_state(sent.id, app=app)) and state.progress and state.progress.fraction == 0.5)
    watch = watching(sent.id)

    first = next(line for line in watch.stdout if line != "started\n")
    (project / "go").touch()
    rest, errors = watch.communicate(timeout=WAIT)

    assert first.startswith("reading   50% [############------------]  5/10")
    assert rest.splitlines()[-1] == 'done: {"rows": 10}'
    assert (watch.returncode, errors) == (0, "")


def test_a_terminal_displays_one_line_that_is_rewritten(start_worker, call, watching, project, eventually, noted):
    start_worker()
    sent = call("report", 10).apply_async()
    eventually(lambda: noted("half"))
    terminal, program_side = pty.openpty()
    watch = watching(sent.id, stdout=program_side)
    os.close(program_side)

    half, output = "\r\x1b[Kreading   50% [############------------]  5/10", ""
    while half not in output:
        output += os.read(terminal, 4096).decode()
    (project / "go").touch()
    output += read_until_closed(terminal)

    assert watch.wait(WAIT) == 0
    *_, last_bar, ended = output.split("\r\x1b[K")
    assert "100% [########################]  10/10" in last_bar
    assert last_bar.endswith("\r\n")
    assert ended.strip() == 'done: {"rows": 10}'


def read_until_closed(terminal):
    """The output up to the end of the program, which closes the other side."""
    output = b""
    with suppress(OSError):
        while data := os.read(terminal, 4096):
            output += data
    os.close(terminal)
    return output.decode()


def test_json_is_printed_for_scripts_and_a_failure_exits_with_1(start_worker, call, watching):
    start_worker()
    sent = call("refused").apply_async()

    watch = watching(sent.id, "--json")
    output, errors = watch.communicate(timeout=WAIT)

    last = json.loads(output.splitlines()[-1])
    assert (last["id"], last["status"], last["error"], last["final"]) == (
        sent.id,
        "failure",
        "The file has no rows.",
        True,
    )
    assert (watch.returncode, errors) == (1, "")


def test_a_task_without_a_state_is_an_error_with_its_cause(watching):
    watch = watching("no-such-task", "--wait", "0.5")
    output, errors = watch.communicate(timeout=WAIT)

    assert (watch.returncode, output) == (1, ""), errors
    assert errors.startswith("Error: Nothing was heard of the task 'no-such-task' within 0.5 s.")


def test_a_broker_that_does_not_answer_is_an_error(watching, environment):
    environment["CELERY_BROKER_URL"] = "amqp://guest:guest@127.0.0.1:1//"
    watch = watching("any")
    _, errors = watch.communicate(timeout=WAIT)

    assert watch.returncode == 1
    assert errors.startswith("Error: The broker amqp://guest:**@127.0.0.1:1// cannot be used")


def test_ctrl_c_ends_it_with_the_status_of_a_shell_and_without_a_traceback(watching, app):
    """Section D."""
    Run(app, SimpleNamespace(id="running", retries=0, delivery_info={}), "shop.report").start()
    watch = watching("running")
    assert watch.stdout.readline() == "started\n"

    watch.send_signal(signal.SIGINT)
    output, errors = watch.communicate(timeout=WAIT)
    close_publisher(app)

    assert (watch.returncode, output, errors) == (130, "", "")

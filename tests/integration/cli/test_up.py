"""`framework up`: the real command, its services and signals, and no process left behind."""

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue

import pytest

from framework.cli.exit_codes import NOT_FOUND, NOT_RUNNABLE, SERVICE_DIED
from framework.cli.up.project_dir import ProjectDir
from framework.errors import AlreadyUp
from framework.testing.mailbox import Mailbox

UP = [sys.executable, "-m", "framework", "up"]
pytestmark = [
    pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds processes through Linux's /proc"),
    pytest.mark.timeout(300),  # four to eight programs start in turn
]
WAIT = 120
# up's two processes, the worker and its two children, beat
SESSION = 6


class Up:
    """A running `framework up`: its lines, and all its descendants, also detached ones."""

    def __init__(self, folder, command, environment, program=UP):
        self.folder = folder
        self.mark = f"TEST_MARK={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self.lines = []
        self._unread = Queue()
        self.process = subprocess.Popen(
            [*program, *command],
            cwd=folder,
            env={**os.environ, **environment, name: value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._unread.put(line.rstrip())
        self._unread.put(None)

    def wait_for_line(self, beginning, timeout=WAIT):
        """The next line that begins so; an error when the output ends before."""
        try:
            while (line := self._unread.get(timeout=timeout)) is not None:
                self.lines.append(line)
                if line.startswith(beginning):
                    return line
        except Empty:
            pass
        raise AssertionError(f"no line {beginning!r} in: {self.lines}")

    def wait(self, timeout=WAIT):
        """Its exit status, once all output is read."""
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        while (line := self._unread.get()) is not None:
            self.lines.append(line)
        self.process.stdout.close()
        return status

    @property
    def launcher(self):
        """The child process that does the work."""
        return next(
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        )

    def processes(self, at_least=0):
        """File descriptors of all its running processes, by process id, as soon as there are so many.

        A process that starts a program has no environment for a moment, and is not found.
        """
        end = time.monotonic() + WAIT
        while len(pids := list(self._pids())) < at_least:
            assert time.monotonic() < end, pids
            time.sleep(0.02)
        found = {}
        for pid in pids:
            with suppress(ProcessLookupError):  # it has ended by itself
                found[pid] = os.pidfd_open(pid)
        return found

    def _pids(self):
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if self.mark.encode() in environ.read_bytes():
                    yield int(environ.parent.name)

    def clean(self):
        while pids := list(self._pids()):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def ended(processes, timeout=60):
    """Whether all processes end in time."""
    waiting = select.poll()
    for handle in processes.values():
        waiting.register(handle, select.POLLIN)
    left = set(processes.values())
    while left and (events := waiting.poll(timeout * 1000)):
        for handle, _ in events:
            waiting.unregister(handle)
            left.discard(handle)
    for handle in processes.values():
        os.close(handle)
    return not left


@pytest.fixture
def up(tmp_path):
    """Start `framework up` in the test's folder."""
    sessions = []

    def start(*command, folder=tmp_path, program=UP, **environment):
        sessions.append(Up(folder, command, environment, program))
        return sessions[-1]

    yield start
    for session in sessions:
        session.clean()
        session.process.wait(WAIT)
        session._reader.join(WAIT)
        session.process.stdout.close()


def sh(script):
    return ["--", "sh", "-c", script]


def greeting(name):
    """A command that calls a task and prints its result."""
    script = f"from framework.tasks.main_task import main_task; print(main_task.delay({name!r}).get(timeout=60))"
    return ["--", sys.executable, "-c", script]


# Services and command


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A session that has ended, whose command printed the broker's URL and failed with 3."""
    folder = tmp_path_factory.mktemp("finished")
    session = Up(folder, sh("echo $CELERY_BROKER_URL; exit 3"), {})
    session.wait()
    return session


def test_broker_worker_and_beat_start_in_this_order_and_stop_in_reverse(finished):
    assert [line.split()[0] for line in finished.lines if line.endswith("ready")] == ["broker", "worker", "beat"]
    assert finished.lines[-1] == "stopped  beat, worker"
    assert len(finished.lines) == 5
    assert not finished.processes()


def test_the_exit_status_is_that_of_the_command(finished):
    assert finished.process.returncode == 3


def test_the_broker_is_a_file_that_only_its_owner_reads_and_the_command_gets_its_url(finished):
    folder = finished.folder / ".framework"

    assert finished.lines[3] == f"sqlite:///{folder}/broker.db"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "broker.db").stat().st_mode & 0o777 == 0o600


def test_the_logs_are_in_the_folder(finished):
    assert " ready." in (finished.folder / ".framework/worker.log").read_text()
    assert "beat: Starting" in (finished.folder / ".framework/beat.log").read_text()


def test_the_command_calls_tasks_on_the_same_broker(up, tmp_path):
    session = up(*greeting("up"))

    assert session.wait() == 0
    assert "Hello, up! This is the main task." in session.lines


def test_the_name_of_the_folder_is_quoted_in_the_url(up, tmp_path):
    folder = tmp_path / "año 100% #1?"
    folder.mkdir()

    session = up(*greeting("up"), folder=folder)

    assert session.wait() == 0, session.lines
    assert "Hello, up! This is the main task." in session.lines
    assert (folder / ".framework/broker.db").stat().st_size > 0


def test_a_command_that_is_killed_gives_the_status_of_a_shell_and_needs_no_dashes_before_it(up):
    assert up("sh", "-c", "kill -9 $$").wait() == 137


def test_background_processes_of_the_command_end_too(up, tmp_path):
    os.mkfifo(tmp_path / "go")
    session = up(*sh("setsid sleep 1000 & sleep 1000 & echo left; read line < go"))
    session.wait_for_line("left")
    processes = session.processes(SESSION + 3)

    (tmp_path / "go").write_text("end\n")

    assert session.wait() == 0
    assert ended(processes)


def test_verbose_prints_the_output_of_the_services(up):
    session = up("--verbose", "true")

    session.wait()

    assert any(line.endswith(" ready.") for line in session.lines)


def test_two_sessions_in_two_folders_are_independent(up, tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()

    one, two = (up(folder=folder) for folder in folders)
    for session in (one, two):
        session.wait_for_line("beat")
    one.process.send_signal(signal.SIGINT)

    assert one.wait() == 0
    assert two.process.poll() is None
    two.process.send_signal(signal.SIGINT)
    assert two.wait() == 0


def test_a_second_session_in_the_same_folder_is_refused(up):
    first = up()
    first.wait_for_line("beat")

    second = up()

    assert second.wait() == 1
    assert second.lines == [line for line in second.lines if line.startswith("Error: `framework up` runs in ")]
    assert str(first.process.pid) in second.lines[0]


# Shutdown


def test_ctrl_c_stops_everything_with_one_line(up):
    session = up()
    session.wait_for_line("beat")
    processes = session.processes(SESSION)

    session.process.send_signal(signal.SIGINT)

    assert session.wait() == 0
    assert session.lines[-1] == "stopped  beat, worker"
    assert not any("Traceback" in line for line in session.lines)
    assert ended(processes)


def test_ctrl_c_reaches_the_command_and_its_status_is_returned(up):
    session = up(*sh('trap "echo caught; exit 7" INT; echo running; while :; do sleep 0.1; done'))
    session.wait_for_line("running")

    session.process.send_signal(signal.SIGINT)

    assert session.wait() == 7
    assert "caught" in session.lines


# A program that ends only at the second Ctrl-C, since its grace is longer than the test.
PATIENT_UP = """
from framework.cli import main
from framework.cli.up import process_group

process_group.GRACE_SECONDS = 3600
main()
"""


def test_a_command_that_ignores_ctrl_c_is_killed_at_the_second(up):
    script = 'trap "echo ignored" INT TERM; echo running; while :; do sleep 0.1; done'
    session = up(*sh(script), program=[sys.executable, "-c", PATIENT_UP, "up"])
    session.wait_for_line("running")
    processes = session.processes(SESSION + 1)

    session.process.send_signal(signal.SIGINT)
    session.wait_for_line("ignored")
    session.process.send_signal(signal.SIGINT)

    assert session.wait() == 137
    assert ended(processes)


def test_ctrl_c_before_all_is_ready_leaves_no_process(up, tmp_path):
    (tmp_path / "celeryconfig.py").write_text("import sys, time\nif 'worker' in sys.argv: time.sleep(1000)\n")
    session = up()
    session.wait_for_line("broker")
    processes = session.processes(2)

    session.process.send_signal(signal.SIGINT)

    assert session.wait() == 130
    assert ended(processes | session.processes())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_signal_stops_everything(up, how):
    session = up()
    session.wait_for_line("beat")
    processes = session.processes(SESSION)

    session.process.send_signal(how)

    assert session.wait() == 0
    assert ended(processes)


DETACHED = "setsid sleep 1000 & echo running; sleep 1000"


@pytest.mark.parametrize(
    ("script", "count"), [(DETACHED, 2), ('trap "" TERM INT HUP; echo running; while :; do sleep 1; done', 1)]
)
def test_when_up_itself_is_killed_everything_ends(up, script, count):
    session = up(*sh(script))
    session.wait_for_line("running")
    processes = session.processes(SESSION + count)

    session.process.kill()

    assert session.process.wait() == -signal.SIGKILL
    assert ended(processes)


def test_when_the_launcher_is_killed_everything_ends(up):
    session = up(*sh(DETACHED))
    session.wait_for_line("running")
    processes = session.processes(SESSION + 2)

    os.kill(session.launcher, signal.SIGKILL)

    assert session.wait() == 137
    assert session.lines[-1] == "Error: The launcher was killed; what it ran has been stopped."
    assert ended(processes)


def kill_both(session):
    """Kill up's two processes, so that neither of them can react to the other's end."""
    launcher = session.launcher
    session.process.send_signal(signal.SIGSTOP)
    os.kill(launcher, signal.SIGKILL)
    session.process.kill()


def test_when_both_processes_of_up_are_killed_worker_beat_and_command_end(up):
    """C4"""
    session = up(*sh("echo running; exec sleep 1000"))
    session.wait_for_line("running")
    processes = session.processes()

    kill_both(session)

    assert len(processes) > SESSION
    assert ended(processes)


SLOW_TO_STOP = """
import time
from pathlib import Path
from celery import signals

@signals.worker_shutting_down.connect(weak=False)
def _wait(**_):
    Path("stopping").touch()
    while not Path("go").exists():
        time.sleep(0.05)
"""


def test_the_folder_is_locked_while_a_worker_of_a_killed_session_runs(up, tmp_path, eventually):
    """C4"""
    (tmp_path / "celeryconfig.py").write_text(SLOW_TO_STOP)
    session = up()
    session.wait_for_line("beat")
    processes = session.processes()

    kill_both(session)

    eventually((tmp_path / "stopping").exists)
    session.process.wait()
    with pytest.raises(AlreadyUp, match="A worker or beat of a killed `framework up` still runs in"):
        lock(tmp_path)
    (tmp_path / "go").touch()
    assert ended(processes)
    lock(tmp_path)


def lock(folder):
    with ProjectDir(folder).locked():
        pass


def test_a_worker_that_is_killed_ends_the_session_and_the_command(up, tmp_path):
    session = up(*sh('trap "echo terminated; exit 5" TERM; echo running; while :; do sleep 0.1; done'))
    worker = int(session.wait_for_line("worker") and process_called(session, "worker"))
    session.wait_for_line("running")
    processes = session.processes(SESSION + 1)

    os.kill(worker, signal.SIGKILL)

    assert session.wait() == SERVICE_DIED
    assert "terminated" in session.lines
    assert any("The worker was killed by signal 9. Its output is in" in line for line in session.lines)
    assert ended(processes)


def process_called(session, service):
    """The main process of a service, which the launcher started."""
    launcher = session.launcher
    for pid in session._pids():
        with suppress(OSError):  # another process has ended by itself
            if (
                f"\0framework\0{service}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
                and f"PPid:\t{launcher}\n" in Path(f"/proc/{pid}/status").read_text()
            ):
                return pid
    raise AssertionError(f"no process of {service}")


# Terminal


PROMPT = "what now? "
REPORTS_RESUMPTION = """
import os, signal, threading

def report():
    while signal.sigwait([signal.SIGCONT]):
        os.write(1, b"resumed\\n")

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])
threading.Thread(target=report, daemon=True).start()
print(f"hello {input('name?')}")
"""


class Terminal:
    """A terminal with a program in it, and input as from a keyboard."""

    def __init__(self, folder, command):
        self.pid, self.keys = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvp(command[0], command)
        self.output = ""

    def type(self, keys):
        os.write(self.keys, keys.encode())

    def wait_for(self, text, timeout=WAIT):
        """Read until ``text`` is in the output; discard the output up to there."""
        while text not in self.output:
            assert select.select([self.keys], [], [], timeout)[0], self.output
            self.output += os.read(self.keys, 4096).decode()
        self.output = self.output.partition(text)[2]

    def wait_until_in_foreground(self):
        """Wait until the command has the keyboard: it may write before."""
        end = time.monotonic() + WAIT
        while b"\0framework\0" in Path(f"/proc/{os.tcgetpgrp(self.keys)}/cmdline").read_bytes():
            assert time.monotonic() < end
            time.sleep(0.02)

    def wait(self):
        while True:
            try:
                self.output += os.read(self.keys, 4096).decode()
            except OSError:  # all processes have closed the terminal
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(tmp_path):
    """Open a terminal that runs `framework up`."""
    opened = []

    def start(*command, program=UP):
        opened.append(Terminal(tmp_path, [*program, *command]))
        return opened[-1]

    yield start
    for each in opened:
        os.close(each.keys)


@pytest.fixture
def shell(terminal):
    """A terminal with a shell, which can suspend programs."""
    return terminal(program=["env", f"PS1={PROMPT}", "bash", "--norc", "--noprofile", "-i"])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestInATerminal:
    def test_the_command_reads_the_keyboard(self, terminal):
        session = terminal(*sh('echo "name?"; read name; echo "hello $name"'))

        session.wait_for("name?")
        session.type("Ann\n")

        session.wait_for("hello Ann")
        assert session.wait() == 0

    def test_ctrl_c_goes_only_to_the_command(self, terminal):
        session = terminal(*sh('trap "echo caught" INT; echo "name?"; read name; read name; echo "hello $name"'))

        session.wait_for("name?")
        session.wait_until_in_foreground()
        session.type("\x03")
        session.wait_for("caught")
        session.type("Ann\nAnn\n")

        session.wait_for("hello Ann")
        assert session.wait() == 0

    def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_gives_it_back(self, shell, tmp_path):
        (tmp_path / "name.py").write_text(REPORTS_RESUMPTION)
        shell.type(f"{sys.executable} -m framework up -- {sys.executable} name.py\n")
        shell.wait_for("name?")
        shell.wait_until_in_foreground()

        shell.type("\x1a")
        shell.wait_for("Stopped")
        shell.wait_for(PROMPT)
        shell.type("fg\n")
        shell.wait_for("resumed")
        shell.type("Ann\n")

        shell.wait_for("hello Ann")
        shell.wait_for("stopped  beat, worker")
        shell.wait_for(PROMPT)
        shell.type("exit\n")
        assert shell.wait() == 0

    def test_ctrl_c_without_a_command_stops_everything(self, terminal):
        session = terminal()

        session.wait_for("Ctrl-C stops everything")
        session.type("\x03")

        assert session.wait() == 0
        assert "stopped  beat, worker" in session.output
        assert "Traceback" not in session.output


# Errors


def only_line(session):
    lines = [line for line in session.lines if not line.endswith("ready")]
    assert len(lines) == 1, session.lines
    return lines[0]


def test_a_command_that_does_not_exist_is_an_error_before_anything_starts(up, tmp_path):
    session = up("--", "no-such-command", "--option")

    assert session.wait() == NOT_FOUND
    assert only_line(session) == (
        "Error: There is no command 'no-such-command'. Check its spelling, or give its path: "
        "framework up -- ./no-such-command"
    )
    assert not (tmp_path / ".framework").exists()


def test_a_command_that_cannot_be_run_is_an_error(up, tmp_path):
    (tmp_path / "notes.txt").write_text("not a program")

    session = up("--", "./notes.txt")

    assert session.wait() == NOT_RUNNABLE
    assert "Error: The command './notes.txt' cannot be run: Permission denied." in "\n".join(session.lines)


def test_a_folder_that_cannot_be_written_is_an_error(up, tmp_path):
    (tmp_path / ".framework").write_text("a file where the folder should be")

    session = up("true")

    assert session.wait() == 1
    assert only_line(session).startswith(f"Error: {tmp_path}/.framework/up.lock cannot be written: ")


def test_a_broker_file_that_is_not_a_database_is_refused_and_not_changed(up, tmp_path):
    (tmp_path / ".framework").mkdir()
    precious = tmp_path / ".framework/broker.db"
    precious.write_text("a novel " * 1000)

    session = up("true")

    assert session.wait() == 1
    assert "broker.db" in only_line(session)
    assert precious.read_text() == "a novel " * 1000


def test_a_broker_that_does_not_run_is_an_error_with_both_fixes(up, tmp_path):
    session = up("true", CELERY_BROKER_URL="amqp://ann:secret@127.0.0.1:1//")

    assert session.wait() == 1
    line = only_line(session)
    assert line.startswith(
        "Error: The broker amqp://ann:**@127.0.0.1:1// cannot be used: [Errno 111] Connection refused."
    )
    assert "sudo rabbitmq-server" in line
    assert "`framework up` without CELERY_BROKER_URL" in line


def test_an_unknown_transport_is_an_error(up):
    session = up("true", CELERY_BROKER_URL="rabbit://localhost")

    assert session.wait() == 1
    assert "The broker 'rabbit' is not supported" in only_line(session)


def test_a_login_that_rabbitmq_refuses_is_an_error(up, rabbitmq):
    session = up("true", CELERY_BROKER_URL=rabbitmq.vhost().replace("guest:guest", "guest:wrong"))

    assert session.wait() == 1
    line = only_line(session)
    assert "ACCESS_REFUSED" in line
    assert "Check the password of user 'guest'" in line
    assert "wrong" not in line


def test_a_missing_virtual_host_is_an_error_with_the_command_that_makes_it(up, rabbitmq):
    session = up("true", CELERY_BROKER_URL=f"{rabbitmq.url.rstrip('/')}/no-such-vhost")

    assert session.wait() == 1
    assert "sudo rabbitmqctl add_vhost no-such-vhost" in only_line(session)


def test_a_port_of_another_program_is_an_error(up):
    with Mailbox() as other:
        session = up("true", CELERY_BROKER_URL=f"amqp://guest:guest@127.0.0.1:{other.port}//")

        assert session.wait() == 1
        assert "does another program have that port?" in only_line(session)


def test_up_runs_on_rabbitmq(up, rabbitmq):
    session = up(*greeting("rabbit"), CELERY_BROKER_URL=rabbitmq.vhost())

    assert session.wait() == 0
    assert "Hello, rabbit! This is the main task." in session.lines


def test_a_broken_task_module_is_an_error_in_one_line(up, tmp_path):
    tasks = tmp_path / "shop/tasks"
    tasks.mkdir(parents=True)
    for package in (tasks, tasks.parent):
        (package / "__init__.py").touch()
    (tasks / "broken.py").write_text("\n\nimport no_such_module\n")
    (tmp_path / "celeryconfig.py").write_text('imports = ["shop.tasks.broken"]\n')

    session = up("true")

    assert session.wait() == 1
    assert only_line(session) == (
        f"Error: The task module shop.tasks.broken cannot be imported ({tasks}/broken.py, line 3): "
        "ModuleNotFoundError: No module named 'no_such_module'"
    )


def test_an_unknown_setting_is_an_error_before_anything_starts(up, tmp_path):
    (tmp_path / "celeryconfig.py").write_text("task_ack_late = True\n")

    session = up("true")

    assert session.wait() == 1
    assert only_line(session).startswith(f"Error: {tmp_path}/celeryconfig.py: 'task_ack_late' is not a setting. ")

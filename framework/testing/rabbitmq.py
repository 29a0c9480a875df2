"""Starts a private RabbitMQ node for tests: on free ports, in a temporary folder, ended with the tests.

It needs only the server's package: no root, no service, no plugin, and no data or cookie of another node.
``python -m framework.testing.rabbitmq install 4.3`` downloads another release than the one of this machine.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from subprocess import DEVNULL, Popen
from tempfile import mkdtemp
from typing import Self

from amqp import Connection
from amqp.exceptions import AMQPError

from framework.errors import FrameworkError, RabbitMQFailed, RabbitMQMissing
from framework.testing import rabbitmq_releases as releases
from framework.testing.apt import apt_install
from framework.testing.reaper import end_with_this_process

# Below the system's ephemeral ports, so that no client takes the node's port while it is down.
PORTS = range(20_000, 32_000)
VHOST_BATCH_SIZE = 25
# All at once, since a node writes each change to its disk, and writes those that come together once.
REPLACE_VHOSTS = """
    All = fun(Do, Names) ->
        Started = [spawn_monitor(fun() -> Do(Name) end) || Name <- Names],
        [receive {{'DOWN', Monitor, _, _, Reason}} -> normal = Reason end || {{_, Monitor}} <- Started]
    end,
    All(fun(Name) -> rabbit_vhost:delete(Name, <<"test">>) end, [{}]),
    All(fun(Name) ->
        ok = rabbit_vhost:add(Name, <<"test">>),
        ok = rabbit_auth_backend_internal:set_permissions(
            <<"guest">>, Name, <<".*">>, <<".*">>, <<".*">>, <<"test">>)
    end, [{}]).
"""


#: Erlang does not busy-wait for work, since tests share the processors.
NO_BUSY_WAIT = "+sbwt none +sbwtdcpu none +sbwtdio none"


class RabbitMQ:
    """A private RabbitMQ node that runs inside ``with``.

    Its AMQP, distribution and epmd ports listen on the loopback interface alone. Its processes end with this one, even
    when this one is killed. ``kill``, ``stop`` and ``start`` keep its data, which is removed at the end.

    Args:
        config: Lines for its ``rabbitmq.conf``.
        name: Its node name, before ``@localhost``.
        beside: Another node, which starts before it and ends after it; the two can be a cluster.
        release: Its release, such as "4.3", which was installed with
            ``python -m framework.testing.rabbitmq install 4.3``; by default, the RabbitMQ of this machine.

    Raises:
        RabbitMQMissing: The server is not installed.
        RabbitMQFailed: The node did not start.
    """

    folder: Path
    output: Path
    port: int
    _environment: dict[str, str]
    _epmd: "Popen[bytes]"

    def __init__(
        self,
        config: str = "",
        *,
        name: str = "test",
        beside: "RabbitMQ | None" = None,
        release: str | None = None,
    ) -> None:
        self._installation = releases.find(release)
        self._config = config
        self.name = f"{name}@localhost"
        self._beside = beside
        self._vhosts: list[str] = []
        self._vhosts_made = 0
        self._vhosts_used: list[str] = []
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._cleanup.close)
            self._prepare()
            self.start()
            undo.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._cleanup.close()

    @property
    def url(self) -> str:
        """The URL of its default virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @property
    def pid(self) -> int:
        """The process id of the node."""
        return self._node.pid

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._node.poll() is None

    def start(self, timeout: float = 60.0) -> None:
        """Start the node and return when clients can log in.

        Args:
            timeout: Seconds that it may take.

        Raises:
            RabbitMQFailed: The node ended, or was not ready in time; the message contains its output.
        """
        with self.output.open("wb") as output:
            self._node = Popen(
                [self._installation.script],
                env=self._environment,
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                process_group=self._epmd.pid,
            )
        self._cleanup.callback(self.kill)
        self._wait_until_ready(time.monotonic() + timeout)

    def stop(self) -> None:
        """Shut the node down with SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the node with SIGKILL. Harmless when it has ended already."""
        self._end(signal.SIGKILL)

    def vhost(self) -> str:
        """Make an empty virtual host, which no other test uses, and return its URL."""
        if not self._vhosts:
            self._make_vhosts()
        return self.url.removesuffix("/") + self._vhosts.pop()

    def drop_vhost(self, url: str) -> None:
        """Remove a virtual host, at the latest when new ones are made: many of them slow the node down."""
        self._vhosts_used.append(url.rpartition("/")[2])

    def ctl(self, *args: str) -> str:
        """Run ``rabbitmqctl`` with ``args`` and return its output (about half a second).

        Raises:
            RabbitMQFailed: The command failed; the message contains its output.
        """
        command = [str(self._installation.script.with_name("rabbitmqctl")), "--silent", *args]
        done = subprocess.run(
            command,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            process_group=self._epmd.pid,  # the reaper ends it too
        )
        if done.returncode:
            raise RabbitMQFailed.at(f"rabbitmqctl {args[0]} failed", done.stderr + done.stdout)
        return done.stdout

    def _prepare(self) -> None:
        parent = self._beside.folder if self._beside else None
        self.folder = Path(mkdtemp(prefix="rabbitmq-", dir=parent))
        self._cleanup.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.output = self.folder / "output"
        self.port, distribution, epmd = free_ports(3)
        self._environment = self._environment_with(distribution, epmd)
        self._join_or_start_epmd(epmd)
        (self.folder / "rabbitmq.conf").write_text(f"log.file.level = warning\n{self._config}\n")
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq-env.conf").touch()

    def _environment_with(self, distribution: int, epmd: int) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            "HOME": str(self.folder),  # the node writes its cookie there
            "PATH": self._installation.path,
            "LC_ALL": "C.UTF-8",
            "ERL_CRASH_DUMP_SECONDS": "0",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{NO_BUSY_WAIT} -kernel inet_dist_use_interface {{127,0,0,1}}",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script execs the node, which keeps the pid
        }

    def _join_or_start_epmd(self, port: int) -> None:
        if self._beside is None:
            return self._start_epmd(port)
        # The nodes of a cluster share an epmd and a cookie.
        self._epmd = self._beside._epmd
        for shared in ("HOME", "ERL_EPMD_PORT"):
            self._environment[shared] = self._beside._environment[shared]
        return None

    def _start_epmd(self, port: int) -> None:
        # Without epmd, the node would start one as a daemon that stays.
        command = [
            shutil.which("epmd", path=self._installation.path) or "epmd",
            "-port",
            str(port),
            "-address",
            "127.0.0.1",
        ]
        self._epmd = Popen(
            command, env=self._environment, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, process_group=0
        )
        self._cleanup.callback(end_with_this_process(self._epmd.pid, self.folder))
        self._cleanup.callback(self._epmd.wait)
        self._cleanup.callback(self._epmd.kill)

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._is_ready():
            ended = self._node.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                what = "RabbitMQ did not start" if ended else "RabbitMQ was not ready in time"
                raise RabbitMQFailed.at(what, self.output.read_text(errors="replace"))
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            with Connection(f"127.0.0.1:{self.port}", connect_timeout=5, read_timeout=5):
                return True
        except (OSError, AMQPError):
            return False

    def _end(self, number: signal.Signals) -> None:
        self._node.send_signal(number)
        try:
            self._node.wait(30)
        except subprocess.TimeoutExpired:
            self._node.kill()
            self._node.wait()

    def _make_vhosts(self) -> None:
        first, self._vhosts_made = self._vhosts_made, self._vhosts_made + VHOST_BATCH_SIZE
        self._vhosts = [f"test-{number}" for number in reversed(range(first, self._vhosts_made))]
        self.ctl("eval", REPLACE_VHOSTS.format(_erlang(self._vhosts_used), _erlang(self._vhosts)))
        self._vhosts_used.clear()


def _erlang(names: list[str]) -> str:
    return ", ".join(f'<<"{name}">>' for name in names)


def free_ports(count: int) -> list[int]:
    """Return ``count`` free TCP ports of the loopback interface."""
    return list(islice(filter(_is_free, random.sample(PORTS, len(PORTS))), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def main(args: list[str]) -> int:
    """Run ``python -m framework.testing.rabbitmq install [RELEASE ...]``.

    Without a release, install the server where it is missing and this user may. Without a server the tests run on the
    embedded broker, so this never fails, and prints what is missing.

    With releases, download those that are missing. The exit status is 1 where one cannot be had.
    """
    match args:
        case ["install"]:
            return _install_package()
        case ["install", *wanted]:
            return _install_releases(wanted)
    raise SystemExit(f"Usage: python -m framework.testing.rabbitmq install [{'|'.join(releases.RELEASES)} ...]")


def _install_package() -> int:
    if os.environ.get("RABBITMQ_URL") or releases.is_installed():
        return 0
    reason = apt_install("RabbitMQ", "rabbitmq-server")
    if reason or not releases.is_installed():
        print(f"{RabbitMQMissing.here().message} (Not installed now: {reason}.)", file=sys.stderr)
    return 0


def _install_releases(wanted: list[str]) -> int:
    try:
        for release in wanted:
            releases.install(release)
    except FrameworkError as exc:
        print(exc.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The private RabbitMQ node, and the external server, that tests use."""

import os
import re
import select
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from time import monotonic, sleep

import pytest
from kombu import Connection, Queue

from framework.errors import ExternalRabbitMQUnusable, RabbitMQFailed, RabbitMQMissing
from framework.testing import rabbitmq as module
from framework.testing import rabbitmq_releases as releases
from framework.testing.external_rabbitmq import ExternalRabbitMQ
from framework.testing.rabbitmq import RabbitMQ, free_ports, main
from framework.testing.rabbitmq_releases import is_installed

pytestmark = [
    pytest.mark.skipif(
        not is_installed() or sys.platform != "linux",
        reason="looks at a RabbitMQ that is installed here, through /proc",
    ),
    pytest.mark.timeout(600),
]
LOOPBACK = {"0100007F", "0" * 24 + "01000000"}
START_AND_WAIT = """
from framework.testing.rabbitmq import RabbitMQ
with RabbitMQ() as node:
    print(node.pid, node._epmd.pid, node.folder, flush=True)
    input()
"""


def test_a_node_listens_on_loopback_alone_keeps_its_data_and_leaves_nothing_behind():
    with RabbitMQ() as node:
        # given a node whose queue holds a durable message
        confirmed = {"confirm_publish": True}
        with Connection(node.url, transport_options=confirmed) as connection, connection.SimpleQueue("mail") as queue:
            queue.put("hello")
        assert listening_addresses(node.pid) <= LOOPBACK
        assert listening_addresses(node.pid)
        epmd = node._epmd.pid
        assert listening_addresses(epmd) <= LOOPBACK

        # when it is killed and started again
        first = node.pid
        node.kill()
        node.start()

        # then it is another process with the same data
        assert node.pid != first
        with Connection(node.url) as connection, connection.SimpleQueue("mail") as queue:
            message = queue.get(timeout=60)
            message.ack()
            assert message.payload == "hello"

        # and a virtual host has none of its queues, and a failed command is an error with its cause
        with Connection(node.vhost()) as connection:
            assert Queue("mail", channel=connection).queue_declare().message_count == 0
        assert removed_when_new_ones_are_made(node, node.vhost())
        with pytest.raises(RabbitMQFailed, match=r"(?s)rabbitmqctl list_permissions failed.*nowhere"):
            node.ctl("list_permissions", "--vhost", "nowhere")
        node.stop()

    # and nothing is left
    assert not running(node.pid)
    assert not running(epmd)
    assert not node.folder.exists()


def test_a_node_ends_when_the_tests_are_killed():
    # given tests that started a node
    command = [sys.executable, "-c", START_AND_WAIT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tests:
        node, epmd, folder = tests.stdout.readline().split()
        node_ended = os.pidfd_open(int(node))
        epmd_ended = os.pidfd_open(int(epmd))

        # when they are killed
        tests.send_signal(signal.SIGKILL)

    # then the node, its epmd and its folder are gone soon after
    assert ends_in_time(node_ended)
    assert ends_in_time(epmd_ended)
    assert until(lambda: not Path(folder).exists())


def test_a_node_runs_for_a_user_without_privileges():
    # given tests run by a user without privileges (a fork, since that user may not read Python's folder)
    tests = get_context("fork").Process(target=start_as_unprivileged_user)

    tests.start()
    tests.join()

    assert tests.exitcode == 0


def start_as_unprivileged_user():
    os.chdir("/")
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    with RabbitMQ() as node:
        assert Path(f"/proc/{node.pid}").stat().st_uid == os.getuid()
    assert not running(node.pid)


def test_a_node_that_does_not_start_raises_with_its_output_and_leaves_nothing_behind():
    node = RabbitMQ("listeners.tcp.local = nonsense:nowhere")

    with pytest.raises(RabbitMQFailed, match=r"(?s)RabbitMQ did not start.*listeners\.tcp"):
        node.__enter__()

    assert not running(node.pid)
    assert not node.folder.exists()


def test_an_external_server_gets_virtual_hosts_that_are_removed():
    with RabbitMQ() as node:
        # given a server with the management plugin
        [port] = free_ports(1)
        node.stop()
        (node.folder / "enabled_plugins").write_text("[rabbitmq_management].")
        (node.folder / "rabbitmq.conf").write_text(f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}")
        node.start()

        # when a test makes a virtual host, then it can use it
        with ExternalRabbitMQ(node.url, f"http://127.0.0.1:{port}") as external:
            with Connection(external.vhost()) as connection:
                Queue("mail", channel=connection).queue_declare()
            assert len(node.ctl("list_vhosts").split()) == 2

        # and it is gone after the tests
        assert node.ctl("list_vhosts").split() == ["/"]


def test_an_external_server_without_management_is_refused_with_the_fix():
    [port] = free_ports(1)
    external = ExternalRabbitMQ("amqp://guest:secret@127.0.0.1:5672//", f"http://127.0.0.1:{port}")

    with pytest.raises(ExternalRabbitMQUnusable, match=r"rabbitmq-plugins enable rabbitmq_management") as refusal:
        external.vhost()

    assert "secret" not in refusal.value.message


@pytest.fixture
def not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(releases, "PACKAGED_SCRIPT", tmp_path / "rabbitmq-server")
    monkeypatch.setattr(releases, "SBIN_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("not_installed")
def test_a_missing_server_is_an_error_with_the_ways_to_install_it():
    with pytest.raises(RabbitMQMissing, match=r"apt-get install rabbitmq-server.*RABBITMQ_URL"):
        RabbitMQ()


@pytest.mark.usefixtures("not_installed")
def test_an_install_that_fails_prints_one_line_and_exits_with_0(capsys):
    assert main(["install"]) == 0

    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("(Not installed now: there is no apt-get here.)")


def test_a_second_install_prints_nothing(capsys):
    assert main(["install"]) == 0
    assert capsys.readouterr() == ("", "")


def removed_when_new_ones_are_made(node: RabbitMQ, url: str) -> bool:
    """Whether a dropped virtual host has been removed when every other one is in use."""
    node.drop_vhost(url)
    taken = {node.vhost() for _ in range(module.VHOST_BATCH_SIZE)}
    left = {f"{node.url.removesuffix('/')}{name}" for name in node.ctl("list_vhosts").split()}
    return taken <= left and url not in left


def listening_addresses(pid: int) -> set[str]:
    """The local addresses, as the kernel writes them, on which a process accepts connections."""
    targets = [str(descriptor.resolve()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {found[1] for target in targets if (found := re.search(r"socket:\[(\d+)\]", target))}
    rows = [row.split() for table in ("tcp", "tcp6") for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def ends_in_time(pidfd: int) -> bool:
    """Whether the process behind a descriptor ends within a minute."""
    readable, _, _ = select.select([pidfd], [], [], 60)
    os.close(pidfd)
    return bool(readable)


def until(condition, timeout: float = 60) -> bool:
    deadline = monotonic() + timeout
    while not condition() and monotonic() < deadline:
        sleep(0.02)
    return condition()

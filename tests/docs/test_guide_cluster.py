"""The page on clusters: its commands, its example with a node killed, and the errors without a majority."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from framework.celery.app import App
from framework.errors import BrokerError, BrokerUnreachable
from framework.limits import Limit
from framework.testing.rabbitmq import RabbitMQ
from framework.testing.rabbitmq_releases import is_installed

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "cluster.md").read_text()

pytestmark = [
    pytest.mark.skipif(not is_installed(), reason="RabbitMQ is not installed"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def nodes():
    """Two nodes in one cluster, made by the commands of the page."""
    with RabbitMQ(name="one") as one, RabbitMQ(name="two", beside=one) as two:
        for command in re.findall(r"sudo rabbitmqctl (stop_app|join_cluster .*|start_app)\n", PAGE):
            two.ctl(*command.replace("rabbit@one", one.name).split())
        yield one, two


def test_the_commands_of_the_page_make_a_cluster(nodes):
    one, two = nodes

    running = one.ctl("cluster_status").partition("Running Nodes")[2]

    assert one.name in running
    assert two.name in running


def test_the_columns_that_the_page_lists_exist(nodes):
    one, _ = nodes
    [columns] = re.findall(r"rabbitmqctl list_queues ([a-z ]+)`", PAGE)

    assert one.ctl("list_queues", *columns.split()).strip() == ""  # an unknown column is an error


def test_a_call_without_a_majority_and_a_limit_without_its_node_raise_an_error(nodes):
    one, two = nodes
    app = App("caller", set_as_current=False, broker=f"{one.url};{two.url}", backend="disabled")
    app.conf.update(task_remote_names=["shop.*"], task_publish_timeout=3)
    limit = Limit("5/m", name="visits", app=app)
    limit.take("Ann")
    app.send_task("shop.pack")

    one.kill()
    try:
        with pytest.raises(BrokerUnreachable, match="home node"):
            limit.take("Ann")
        with pytest.raises(BrokerError):
            app.send_task("shop.pack")
    finally:
        one.start()

    limit.take("Ann")
    app.close()


def test_the_example_continues_when_a_node_is_gone(tmp_path):
    command = [sys.executable, str(DOCS / "examples/cluster/try_it.py")]

    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "Hello, three nodes! This is the main task.\nCalled with a node gone.\n"

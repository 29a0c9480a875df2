"""A process killed with ``kill -9``: its messages are requeued, its confirmed publishes are there."""

import signal
import subprocess
import sys

import pytest
from amqp.exceptions import NotFound, ResourceLocked

CONSUMER = """
import sys
from kombu import Connection
from framework.broker import register
register()
connection = Connection(sys.argv[1])
channel = connection.channel()
channel.basic_qos(0, 2, False)
held = []
channel.basic_consume("mail", callback=held.append)
while len(held) < 2:
    connection.drain_events()
channel.basic_get("letters")
channel.queue_declare("mine", exclusive=True)
print("holding", flush=True)
sys.stdin.read()
"""
PUBLISHER = """
import itertools, sys
from kombu import Connection
from framework.broker import register
register()
connection = Connection(sys.argv[1], transport_options={"confirm_publish": True})
channel = connection.channel()
for number in itertools.count():
    channel.basic_publish(channel.prepare_message(str(number).encode()), routing_key="mail")
    print(number, flush=True)
"""


@pytest.fixture
def start(broker_url):
    """Return a function that starts another program on the same broker."""
    programs = []

    def start(code):
        command = [sys.executable, "-c", code, broker_url]
        programs.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return programs[-1]

    yield start
    for program in programs:
        program.kill()
        program.communicate()


@pytest.fixture
def killed_consumer(client, start):
    """Kill a consumer that held two of three messages and one of another queue."""
    client.queue("mail")
    client.queue("letters")
    client.publish("one", "two", "three")
    client.publish("letter", key="letters")
    consumer = start(CONSUMER)
    assert consumer.stdout.readline() == "holding\n"
    assert client.counts("mail") == (1, 1)
    consumer.send_signal(signal.SIGKILL)
    consumer.wait()


@pytest.mark.usefixtures("killed_consumer")
def test_a_killed_process_messages_are_requeued_in_their_places(client, eventually):
    assert eventually(lambda: client.ready("mail") == 3)
    messages = [client.get() for _ in range(3)]
    assert [message.body for message in messages] == ["one", "two", "three"]
    assert [message.delivery_info["redelivered"] for message in messages] == [True, True, False]
    assert client.take("letters").body == "letter"


@pytest.mark.usefixtures("killed_consumer")
def test_a_waiting_consumer_receives_a_killed_process_messages(client):
    assert sorted(client.consume(prefetch=10).wait_for(3)) == ["one", "three", "two"]


@pytest.mark.usefixtures("killed_consumer")
def test_a_killed_process_loses_its_consumers_and_exclusive_queues(client, eventually):
    assert eventually(lambda: client.counts("mail")[1] == 0)
    assert eventually(lambda: is_deleted(client, "mine"))


def is_deleted(client, queue):
    """Whether an exclusive queue of another connection is gone; until then it is locked."""
    try:
        client.counts(queue)
    except NotFound:
        return True
    except ResourceLocked:
        return False
    return False


def test_messages_confirmed_to_a_killed_publisher_are_there(client, start):
    client.queue("mail")
    publisher = start(PUBLISHER)

    published = [int(publisher.stdout.readline()) for _ in range(50)]
    publisher.send_signal(signal.SIGKILL)
    published += [int(line) for line in publisher.stdout]

    bodies = [int(body) for body in client.empty()]
    assert bodies[: len(published)] == published
    assert len(bodies) - len(published) <= 1

"""A list of URLs on the embedded broker: where one file cannot be opened, the next one is used."""

import pytest
from kombu import Connection, Queue, pools

from framework.broker import register
from framework.celery.app import App

register()


@pytest.fixture
def urls(tmp_path):
    """A file that cannot be opened, then one that can, in a folder whose name needs quoting."""
    folder = tmp_path / "a b"
    folder.mkdir()
    return f"sqlite:////no-such-folder/x.db;sqlite:///{folder}/y.db".replace(" ", "%20")


def test_a20_a_connection_goes_to_the_next_file_of_a_list(urls, tmp_path):
    with Connection(urls) as connection:
        connection.ensure_connection(max_retries=3, interval_start=0)

        assert (tmp_path / "a b/y.db").exists()
        assert connection.as_uri() == urls.partition(";")[2]


def test_a20_a_list_of_two_good_files_uses_the_first(tmp_path):
    with Connection(f"sqlite:///{tmp_path}/a.db;sqlite:///{tmp_path}/b.db") as connection:
        connection.ensure_connection()

    assert [file.name for file in tmp_path.glob("*.db")] == ["a.db"]


def test_a20_a_call_goes_to_the_next_file_of_a_list(urls):
    app = App("shop", set_as_current=False, broker=urls, backend="disabled")
    app.conf.task_remote_names = ["*"]

    app.send_task("shop.any")

    with Connection(urls.partition(";")[2]) as connection:
        assert connection.default_channel.queue_declare("celery", passive=True).message_count == 1
    pools.reset()
    app.close()


def test_a20_one_turn_delivers_all_that_is_ready(tmp_path):
    received = []
    with Connection(f"sqlite:///{tmp_path}/a.db") as connection:
        with connection.Producer() as producer:
            for number in range(5):
                producer.publish(number, routing_key="mail", declare=[Queue("mail")])
        with connection.Consumer([Queue("mail")], callbacks=[lambda body, message: received.append(body)]):
            connection.drain_events(timeout=10)

    assert received == [0, 1, 2, 3, 4]


def test_a20_a_consumer_that_is_cancelled_in_a_turn_gets_no_more(tmp_path):
    received = []

    def once(message):
        received.append(message)
        consumer.cancel()

    with Connection(f"sqlite:///{tmp_path}/a.db") as connection:
        with connection.Producer() as producer:
            for number in range(2):
                producer.publish(number, routing_key="mail", declare=[Queue("mail")])
        consumer = connection.Consumer([Queue("mail")], on_message=once)
        consumer.consume()
        connection.drain_events(timeout=10)

    assert len(received) == 1

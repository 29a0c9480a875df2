"""A request is sent again while its queue is being deleted, and ends where the queue's node is down."""

import time

import pytest
from amqp.exceptions import NotFound

from framework.broker import request as requests
from framework.celery.app import App
from framework.errors import BrokerUnreachable

#: RabbitMQ's answer in both cases.
DOWN = "NOT_FOUND - home node 'rabbit@one' of durable queue 'lock' in vhost '/' is down or inaccessible"


@pytest.fixture
def app(broker_url):
    app = App("shop", set_as_current=False, broker=broker_url)
    yield app
    app.close()


def test_a_queue_that_is_being_deleted_is_requested_again(app):
    answers = iter([NotFound(DOWN), NotFound(DOWN), None])

    def declare(channel):
        if error := next(answers):
            raise error
        return channel.queue_declare("lock", exclusive=True).queue

    assert requests.request(app, declare) == "lock"


def test_a_queue_whose_node_is_down_is_an_error_after_the_time_of_a_deletion(app):
    def declare(_):
        raise NotFound(DOWN)

    began = time.monotonic()
    with pytest.raises(BrokerUnreachable, match="home node"):
        requests.request(app, declare)

    assert time.monotonic() - began >= requests.DELETION_SECONDS


def test_a_queue_that_does_not_exist_is_an_error_at_once(app):
    requested = []

    def declare(_):
        requested.append(1)
        raise NotFound("NOT_FOUND - no queue 'lock' in vhost '/'")

    with pytest.raises(NotFound):
        requests.request(app, declare)

    assert len(requested) == 1

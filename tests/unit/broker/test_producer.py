"""`ReliableProducer`, on both brokers: a message that no queue takes raises."""

import pytest
from amqp.exceptions import ChannelError
from kombu import Connection, Queue, pools

from framework.broker import register
from framework.broker.amqp_codes import NO_ROUTE
from framework.broker.producer import ReliableProducer
from framework.celery.app import App
from framework.errors import BrokerError

register()


@pytest.fixture
def connection(broker_url):
    with Connection(broker_url, transport_options={"confirm_publish": True}) as connection:
        yield connection


@pytest.fixture
def producer(connection):
    return ReliableProducer(connection.Producer(), timeout=60)


@pytest.fixture
def app(broker_url):
    app = App("shop", set_as_current=False, broker=broker_url, backend="disabled")
    app.conf.task_remote_names = ["*"]
    yield app
    pools.reset()
    app.close()


def delete(connection, name):
    with connection.channel() as channel:
        channel.queue_delete(name)


def test_a_publish_to_a_queue_that_was_deleted_raises(connection, producer):
    mail = Queue("mail")
    producer.publish("first", routing_key="mail", declare=[mail])
    delete(connection, "mail")

    with pytest.raises(ChannelError) as refused:
        producer.publish("second", routing_key="mail", declare=[mail])

    assert refused.value.reply_code == NO_ROUTE


def test_the_publish_after_that_declares_the_queue_again(connection, producer):
    mail = Queue("mail")
    producer.publish("first", routing_key="mail", declare=[mail])
    delete(connection, "mail")
    with pytest.raises(ChannelError):
        producer.publish("second", routing_key="mail", declare=[mail])

    producer.publish("third", routing_key="mail", declare=[mail])

    assert mail(connection.default_channel).get(no_ack=True).payload == "third"


def test_a_call_of_a_task_whose_queue_was_deleted_raises(connection, app):
    app.send_task("shop.close")
    delete(connection, "celery")

    with pytest.raises(BrokerError, match=r"NO_ROUTE\. Nothing was queued"):
        app.send_task("shop.close")

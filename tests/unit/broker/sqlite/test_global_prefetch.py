"""A prefetch count of a channel, which its queues share, as a worker's do on the embedded broker."""

from kombu import Connection

from framework.broker import register

register()


def test_the_queues_of_a_channel_take_turns(tmp_path):
    received = []

    def record_and_ack(message):
        received.append(message.body)
        message.channel.basic_ack(message.delivery_tag)

    with Connection(f"sqlite:///{tmp_path}/broker.db") as connection:
        channel = connection.default_channel
        channel.basic_qos(0, 1, True)
        for queue, bodies in {"mail": "abc", "reports": "xyz"}.items():
            channel.queue_declare(queue, durable=True, auto_delete=False)
            for body in bodies:
                channel.basic_publish(channel.prepare_message(body, content_encoding="utf-8"), routing_key=queue)
        for queue in ("mail", "reports"):
            channel.basic_consume(queue, callback=record_and_ack)
        while len(received) < 6:
            connection.drain_events(timeout=10)

    assert received == ["a", "x", "b", "y", "c", "z"]

"""A short client of AMQP, the same on both brokers."""

from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import pytest
from amqp import Message, spec
from kombu import Connection

from framework.broker import register
from framework.broker.server import server_properties

register()
TIMEOUT_SECONDS = 60.0
SILENCE_SECONDS = 0.05


class Client:
    """A connection with one channel; publishes are confirmed."""

    def __init__(self, url: str) -> None:
        self.connection = Connection(url, transport_options={"confirm_publish": True})
        self.channel = self.connection.channel()

    @property
    def release(self) -> tuple[int, ...]:
        """RabbitMQ's first two numbers; the embedded broker does as the oldest supported RabbitMQ."""
        version = server_properties(self.connection).get("version", "3.10")
        return tuple(int(part) for part in version.split(".")[:2])

    def close(self) -> None:
        self.connection.release()

    def exchange(self, name: str, kind: str = "direct", *, auto_delete: bool = False, **arguments: Any) -> str:
        """Declare an exchange; ``alternate_exchange="b"`` is the argument ``alternate-exchange``."""
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.channel.exchange_declare(name, kind, durable=True, auto_delete=auto_delete, arguments=named)
        return name

    def queue(
        self,
        name: str = "mail",
        *,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        **arguments: Any,
    ) -> str:
        """Declare a queue; ``max_length=1`` is the argument ``x-max-length``."""
        named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        declared = self.channel.queue_declare(
            name, durable=durable, exclusive=exclusive, auto_delete=auto_delete, arguments=named
        )
        return declared.queue

    def bind(self, queue: str, exchange: str, *keys: str) -> None:
        for key in keys or ("",):
            self.channel.queue_bind(queue, exchange, key)

    def publish(
        self,
        *bodies: str | bytes,
        key: str = "mail",
        exchange: str = "",
        mandatory: bool = False,
        headers: dict[str, Any] | None = None,
        priority: int | None = None,
        content_type: str | None = None,
        content_encoding: str | None = "utf-8",
        **properties: Any,
    ) -> None:
        """Publish each body and wait until the broker has it."""
        for body in bodies:
            encoding = content_encoding if isinstance(body, str) else None
            message = self.channel.prepare_message(body, priority, content_type, encoding, headers, properties)
            self.channel.basic_publish(message, exchange=exchange, routing_key=key, mandatory=mandatory)

    def get(self, queue: str = "mail", *, no_ack: bool = False) -> Message | None:
        return self.channel.basic_get(queue, no_ack=no_ack)

    def take(self, queue: str = "mail", *, no_ack: bool = False) -> Message:
        """Return the next message, as soon as there is one."""
        deadline = monotonic() + TIMEOUT_SECONDS
        while monotonic() < deadline:
            if message := self.get(queue, no_ack=no_ack):
                return message
            sleep(0.005)
        raise AssertionError(f"no message came to {queue}")

    def empty(self, queue: str = "mail") -> list[str | bytes]:
        """Delete the ready messages and return their bodies."""
        return [message.body for message in iter(lambda: self.get(queue, no_ack=True), None)]

    def counts(self, queue: str = "mail") -> tuple[int, int]:
        """Return how many ready messages and consumers there are, after this client's earlier requests."""
        declared = self.channel.queue_declare(queue, passive=True)
        return declared.message_count, declared.consumer_count

    def ready(self, queue: str = "mail") -> int:
        return self.counts(queue)[0]

    def ack(self, message: Message, *, multiple: bool = False) -> None:
        self.channel.basic_ack(message.delivery_tag, multiple=multiple)

    def reject(self, message: Message, *, requeue: bool = False) -> None:
        self.channel.basic_reject(message.delivery_tag, requeue=requeue)

    def nack(self, message: Message) -> None:
        """Requeue a message with RabbitMQ's own method, for which py-amqp has none."""
        self.channel.send_method(spec.Basic.Nack, "Lbb", (message.delivery_tag, False, True))

    def requeue(self, *messages: Message) -> None:
        for message in messages:
            self.reject(message, requeue=True)

    def consume(self, queue: str = "mail", *, prefetch: int | None = None, **options: Any) -> "Inbox":
        """Start a consumer."""
        if prefetch is not None:
            self.channel.basic_qos(0, prefetch, False)
        return Inbox(self, queue, options)

    def drain(self, timeout: float) -> bool:
        """Wait ``timeout`` seconds for a message and deliver it; return whether one came."""
        try:
            self.connection.drain_events(timeout=timeout)
        except TimeoutError:
            return False
        return True


class Inbox(list[Message]):
    """The messages that a consumer received."""

    def __init__(self, client: Client, queue: str, options: dict[str, Any]) -> None:
        super().__init__()
        self.client = client
        self.tag = client.channel.basic_consume(queue, callback=self.append, **options)

    @property
    def bodies(self) -> list[str | bytes]:
        return [message.body for message in self]

    def wait_for(self, count: int) -> list[str | bytes]:
        """Return the bodies, once there are ``count``."""
        deadline = monotonic() + TIMEOUT_SECONDS
        while len(self) < count and monotonic() < deadline:
            self.client.drain(timeout=0.1)
        assert len(self) >= count, f"of {count} messages only {self.bodies} came"
        return self.bodies

    def after_a_while(self) -> list[str | bytes]:
        """Return the bodies, after `SILENCE_SECONDS` without a message."""
        while self.client.drain(timeout=SILENCE_SECONDS):
            pass
        return self.bodies

    def cancel(self) -> None:
        self.client.channel.basic_cancel(self.tag)


def eventually(condition: Callable[[], object]) -> bool:
    """Return whether a condition holds within `TIMEOUT_SECONDS`."""
    deadline = monotonic() + TIMEOUT_SECONDS
    while not (holds := bool(condition())) and monotonic() < deadline:
        sleep(0.005)
    return holds


@pytest.fixture
def connect(broker_url: str) -> Iterator[Callable[[], Client]]:
    """Return a function that connects clients of one broker."""
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(broker_url))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Callable[[], Client]) -> Client:
    """A client of a broker on which nothing has been declared yet."""
    return connect()


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[[Callable[[], object]], bool]:
    return eventually

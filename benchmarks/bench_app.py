"""The application that every system under test runs: plain Celery, with one task that stores its start time."""

import os
import time

from celery import Celery

from framework import broker

broker.register()

OPTIONS = {
    "filesystem": {
        "data_folder_in": os.environ.get("BENCH_FOLDER", "."),
        "data_folder_out": os.environ.get("BENCH_FOLDER", "."),
        "control_folder": os.environ.get("BENCH_FOLDER", "."),
        "polling_interval": 0.05,
    },
}

app = Celery("bench", broker=os.environ["CELERY_BROKER_URL"], backend="disabled", set_as_current=True)
app.conf.update(
    broker_transport_options=OPTIONS.get(os.environ.get("BENCH_SYSTEM", ""), {}),
    task_ignore_result=True,
    task_acks_late=os.environ.get("BENCH_ACKS_LATE") == "1",
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "4")),
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.stamp")
def stamp(sent_ns: int) -> None:
    """Append the times when it was sent and started, in nanoseconds, with one write of 16 bytes."""
    line = sent_ns.to_bytes(8) + time.time_ns().to_bytes(8)
    file = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def delay(count: int) -> float:
    """Call the task ``count`` times with Celery's ``delay()``; return calls per second."""
    stamp.delay(0)  # connects and declares
    started = time.perf_counter()
    for _ in range(count):
        stamp.delay(time.time_ns())
    return count / (time.perf_counter() - started)


def publish(count: int) -> float:
    """Publish ``count`` messages of the task with kombu alone; return messages per second."""
    message = app.amqp.create_task_message("0" * 36, stamp.name, (0,), {}, argsrepr="(0,)", kwargsrepr="{}")
    queue = app.amqp.queues["celery"]
    with app.connection_for_write() as connection:
        producer = connection.Producer(serializer="json")
        options = {"exchange": queue.exchange, "routing_key": queue.routing_key, "delivery_mode": 2}
        producer.publish(message.body, headers=message.headers, declare=[queue], **options, **message.properties)
        started = time.perf_counter()
        for _ in range(count):
            producer.publish(message.body, headers=message.headers, **options, **message.properties)
        return count / (time.perf_counter() - started)

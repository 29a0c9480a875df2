"""A worker survives each message, and runs it or stores it as a failed task with a reason, on both brokers."""

import gzip
import json
import os
import pickle
import random
import struct
import time
import zlib
from datetime import UTC, datetime, timedelta

import amqp
import pytest
from celery import Celery

FUZZED = int(os.environ.get("FUZZED_MESSAGES", "200"))
WAIT = 60
TASK = "probe.tasks.any-name.write"
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
DEEP = "[" * 100_000 + "]" * 100_000


def headers(**more):
    return {"task": TASK, "id": "an-id", "lang": "py", "retries": 0, "timelimit": [None, None], "eta": None} | more


def without(*names):
    return {name: value for name, value in headers().items() if name not in names}


def body(*args, kwargs=None, embed=EMBED):
    return json.dumps([args, kwargs or {}, embed])


def protocol_1(**more):
    return json.dumps({"task": TASK, "id": "an-id", "args": ["ran"], "kwargs": {}} | more)


# Each with its reason, its body, its headers and its other properties.
KINDS = {
    "a body of 42": ("malformed", "42", headers(), {}),
    "a body of null": ("malformed", "null", headers(), {}),
    "an empty body": ("malformed", "", headers(), {}),
    "an empty list": ("malformed", "[]", headers(), {}),
    "an empty mapping": ("malformed", "{}", headers(), {}),
    "arguments that are no list": ("malformed", json.dumps([5, {}, EMBED]), headers(), {}),
    "keyword arguments that are no mapping": ("malformed", json.dumps([[], [], EMBED]), headers(), {}),
    "a canvas that is none": ("malformed", body(embed=7), headers(), {}),
    "error callbacks that are none": ("malformed", body(embed={"errbacks": 7}), headers(), {}),
    "no id": ("malformed", body("ran"), without("id"), {}),
    "an id that is a number": ("malformed", body("ran"), headers(id=7), {}),
    "a task that is a list": ("malformed", body("ran"), headers(task=["a", "b"]), {}),
    "a task that is a number": ("malformed", body("ran"), headers(task=7), {}),
    "a task that is nothing": ("malformed", body("ran"), headers(task=None), {}),
    "a time limit of zz": ("malformed", body("ran"), headers(timelimit="zz"), {}),
    "a negative time limit": ("malformed", body("ran"), headers(timelimit=[-5, None]), {}),
    "retries that are text": ("malformed", body("ran"), headers(retries="many"), {}),
    "an eta that is no time": ("malformed", body("ran"), headers(eta="soon"), {}),
    "an expiry that is no time": ("malformed", body("ran"), headers(expires="never"), {}),
    "stamps that cannot be looked up": ("malformed", body("ran"), headers(stamped_headers=[["x"]]), {}),
    "no headers, garbage": ("undecodable", b"\xff\x00garbage", {}, {}),
    "no headers, a list": ("malformed", "[1, 2]", {}, {}),
    "no headers, no task": ("malformed", '{"args": []}', {}, {}),
    "protocol 1 without an id": ("malformed", json.dumps({"task": TASK, "args": [], "kwargs": {}}), {}, {}),
    "protocol 1 with a bad eta": ("malformed", protocol_1(eta=5), {}, {}),
    "protocol 1 with a bad time limit": ("malformed", protocol_1(timelimit="zz"), {}, {}),
    "protocol 1 nested 900 levels": ("malformed", protocol_1(args=[json.loads("[" * 900 + "]" * 900)]), {}, {}),
    "an eta in the year 9999": ("too-far", body("ran"), headers(eta="9999-12-31T23:59:59+00:00"), {}),
    "broken JSON": ("undecodable", '[["ran"', headers(), {}),
    "bytes that are no text": ("undecodable", b"\xff\xfe\xfd", headers(), {}),
    "JSON nested 100,000 levels": ("undecodable", DEEP, headers(), {}),
    "JSON nested 600 levels": ("malformed", f"[[{DEEP[100_000 - 600 : 100_000 + 600]}], {{}}, null]", headers(), {}),
    "pickle": (
        "refused",
        pickle.dumps([["ran"], {}, EMBED]),
        headers(),
        {"content_type": "application/x-python-serialize"},
    ),
    "yaml": ("refused", "[[ran], {}, {}]", headers(), {"content_type": "application/x-yaml"}),
    "an unknown content type": ("refused", body("ran"), headers(), {"content_type": "image/png"}),
    "text that is no task": ("malformed", "hello", headers(), {"content_type": "application/text"}),
    "an unknown encoding": ("undecodable", b"\xff\xff", headers(), {"content_encoding": "klingon"}),
    "an encoding whose decoder raises another exception": (
        "undecodable",
        b'a-"',
        headers(),
        {"content_encoding": "punycode"},
    ),
    "compressed, which is not in use": (
        "refused",
        zlib.compress(body("ran").encode()),
        headers(compression="application/x-gzip"),
        {},
    ),
    "compressed and broken": ("refused", gzip.compress(b"x")[:5], headers(compression="zlib"), {}),
    "a compression that is a list": ("refused", body("ran"), headers(compression=["zlib"]), {}),
    "a decompression bomb": ("refused", zlib.compress(b"0" * 200_000_000), headers(compression="gzip"), {}),
    "2 MB": ("too-large", body("x" * 2_000_000), headers(), {}),  # RabbitMQ 4 refuses more than 16 MiB itself
    "a task that is not registered": (
        "unregistered",
        body("ran"),
        headers(task="no.such.task"),
        {"reply_to": "no-queue"},
    ),
    "protocol 1, not registered": ("unregistered", protocol_1(task="no.such.task"), {}, {}),
    "too many arguments": ("failed", body(1, 2, 3), headers(), {}),
    "arguments of unknown names": ("failed", body(kwargs={"nonsense": 1}), headers(), {}),
}


def publish(app, name, content, *, application_headers, **properties):
    """Publish a message as any client can, straight into the task queue."""
    properties = {"content_type": "application/json", "content_encoding": "utf-8", "message_id": name} | properties
    with app.connection_for_write() as connection, connection.channel() as channel:
        message = amqp.Message(content, application_headers=application_headers, delivery_mode=2, **properties)
        channel.basic_publish(message, exchange="", routing_key="celery", mandatory=True)


def take_failed(app):
    """Remove the failed tasks' messages from their queue, and return them; none while there is no such queue."""
    found = []
    try:
        with app.connection_for_read() as connection, connection.channel() as channel:
            while message := channel.basic_get("celery.failed", no_ack=True):
                found.append(message)
    except amqp.NotFound:
        pass
    except amqp.InternalError as error:
        # RabbitMQ lists a quorum queue before its leader runs, to a passive declaration too. Only a read shows it.
        if "noproc" not in str(error):
            raise
    return found


def wait_for_failed(app, count):
    """Take failed tasks until there are ``count``."""
    end = time.monotonic() + WAIT
    found = []
    while len(found) < count:
        assert time.monotonic() < end, f"{len(found)} of {count} have failed: {sorted(map(reason, found))}"
        found += take_failed(app)
        time.sleep(0.05)
    return found


def reason(message):
    return message.headers["x-failed-reason"]


@pytest.fixture
def project(project):
    with (project / "celeryconfig.py").open("a") as file:
        file.write("task_message_max_bytes = 1_000_000\n")
    return project


@pytest.fixture
def worker(start_worker):
    return start_worker()


def assert_running(worker, call):
    assert call("add", 1, 1).apply_async().get(WAIT) == 2
    assert worker.process.poll() is None, worker.output


def test_each_kind_of_invalid_message_is_a_failed_task_with_its_reason(worker, app, call, noted):
    for name, (_, content, application_headers, properties) in KINDS.items():
        publish(app, name, content, application_headers=application_headers, **properties)

    found = {message.properties["message_id"]: reason(message) for message in wait_for_failed(app, len(KINDS))}

    assert found == {name: kind[0] for name, kind in KINDS.items()}
    assert noted("written") == []
    assert_running(worker, call)


def test_the_message_of_a_failed_task_is_the_published_one(worker, app):
    content = zlib.compress(body("ran").encode())
    published = headers(compression="gzip", mine={"of": ["the", 1.5]})
    publish(app, "mine", content, application_headers=published, priority=3, expiration="900000", reply_to="me")

    [message] = wait_for_failed(app, 1)

    others = {name: value for name, value in message.headers.items() if not name.startswith(("x-failed-", "x-deli"))}
    assert others == published
    assert message.body == content
    assert (message.properties["priority"], message.properties["reply_to"]) == (3, "me")
    assert "expiration" not in message.properties
    failure = {
        name.removeprefix("x-failed-"): value for name, value in message.headers.items() if name.startswith("x-failed-")
    }
    assert failure.pop("at") <= datetime.now(UTC).isoformat()
    assert failure.pop("worker").startswith("w0@")
    assert "task_compression" in failure.pop("error")
    assert failure == {"reason": "refused", "traceback": "", "attempts": 0, "queue": "celery"}


def test_a_task_that_no_worker_has_is_one_log_line_without_its_arguments(worker, app):
    publish(app, "x", body("a secret"), application_headers=headers(task="no.such\n.task"))

    wait_for_failed(app, 1)
    worker.stop()

    [line] = [line for line in worker.lines if "celery.failed: " in line]
    assert r"no task of this worker is called 'no.such\n.task'" in line
    assert "a secret" not in worker.output


def test_the_caller_of_a_task_that_no_worker_has_gets_an_error(worker, app):
    app.conf.task_remote_names = ["*"]

    with pytest.raises(Exception, match=r"no\.such\.task"):
        app.send_task("no.such.task").get(WAIT)


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_message_of_plain_celery_is_run(worker, app, broker_url, noted, eventually, protocol):
    plain = Celery("plain", set_as_current=False, broker=broker_url, backend="rpc://")
    plain.conf.update(task_protocol=protocol, task_queues=[app.amqp.queues["celery"]])
    # Without, RabbitMQ may lose a message whose connection is closed at once.
    plain.conf.broker_transport_options = {"confirm_publish": True}

    with plain.connection_for_write() as connection:
        plain.send_task(TASK, ["ran"], connection=connection)
        eta = datetime.now(UTC) + timedelta(seconds=0.5)
        plain.send_task(TASK, ["later"], eta=eta, expires=60, time_limit=30, connection=connection)

    eventually(lambda: set(noted("written")) == {"later", "ran"})
    plain.close()


def test_a_compression_that_the_application_uses_is_accepted(start_worker, project, app, noted, eventually):
    with (project / "celeryconfig.py").open("a") as settings:
        settings.write("task_compression = 'gzip'\n")
    start_worker()

    app.send_task(TASK, ["small"], compression="gzip")
    bomb = zlib.compress(b"0" * 200_000_000)
    publish(app, "bomb", bomb, application_headers=headers(compression="gzip"))

    assert [reason(message) for message in wait_for_failed(app, 1)] == ["too-large"]
    eventually(lambda: noted("written") == ["small"])


def test_a_task_that_arrives_hours_early_waits_in_the_broker(worker, app, call, eventually):
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    publish(app, "early", body("ran"), application_headers=headers(eta=in_an_hour))
    publish(app, "early too", protocol_1(eta=in_an_hour), application_headers={})

    assert_running(worker, call)

    eventually(lambda: waiting(app) == 2)


def waiting(app):
    with app.connection_for_read() as connection, connection.channel() as channel:
        return sum(channel.queue_declare(f"celery.delay.{n}", passive=True).message_count for n in range(30))


def test_a_task_that_arrives_seconds_early_runs_at_its_time(worker, app, noted, eventually):
    eta = datetime.now(UTC) + timedelta(seconds=4)
    publish(app, "early", body("ran"), application_headers=headers(eta=eta.isoformat()))

    eventually(lambda: noted("written") == ["ran"])

    assert 0 <= (datetime.now(UTC) - eta).total_seconds() < 30


def test_the_queue_of_failed_tasks_is_declared_again_after_its_deletion(worker, app):
    publish(app, "first", "42", application_headers=headers())
    wait_for_failed(app, 1)
    with app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_delete("celery.failed")

    publish(app, "second", "42", application_headers=headers())

    assert [message.properties["message_id"] for message in wait_for_failed(app, 1)] == ["second"]


def test_an_invalid_message_that_cannot_be_stored_is_dead_lettered(worker, app, eventually):
    publish(app, "first", "42", application_headers=headers())
    wait_for_failed(app, 1)
    with app.connection_for_write() as connection, connection.channel() as channel:
        refuse_failed_tasks(channel)
        channel.queue_declare("rescue", durable=True, auto_delete=False)
        channel.queue_bind("rescue", "celery.failed")

    publish(app, "second", "42", application_headers=headers())

    eventually(lambda: "x-death" in rescued(app))
    eventually(lambda: "nor stored in celery.failed" in worker.output)
    assert worker.process.poll() is None


def refuse_failed_tasks(channel):
    """Replace the queue of failed tasks by one that is full."""
    channel.queue_delete("celery.failed")
    full = {"x-max-length": 0, "x-overflow": "reject-publish"}
    channel.queue_declare("celery.failed", durable=True, auto_delete=False, arguments=full)
    channel.queue_bind("celery.failed", "celery.failed")


def rescued(app):
    """Return the headers of the next message that could not be stored, or an empty mapping."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        message = channel.basic_get("rescue", no_ack=True)
        return message.headers if message else {}


def test_an_invalid_message_of_a_queue_without_dead_letters_is_retried_until_it_is_stored(
    start_worker, project, app, eventually
):
    with (project / "celeryconfig.py").open("a") as settings:
        settings.write(
            "from kombu import Queue\n"
            "_own = {'x-queue-type': 'classic', 'x-dead-letter-exchange': None, 'x-overflow': None}\n"
            "task_queues = [Queue('celery', queue_arguments=_own)]\n"
        )
    worker = start_worker()
    publish(app, "first", "42", application_headers=headers())
    wait_for_failed(app, 1)
    with app.connection_for_write() as connection, connection.channel() as channel:
        refuse_failed_tasks(channel)

    publish(app, "second", "42", application_headers=headers())
    eventually(lambda: worker.output.count("nor stored in celery.failed") >= 2)
    with app.connection_for_write() as connection, connection.channel() as channel:
        channel.queue_delete("celery.failed")

    assert [message.properties["message_id"] for message in wait_for_failed(app, 1)] == ["second"]
    assert worker.process.poll() is None


class Unreadable(amqp.Message):
    """A message whose properties are these bytes."""

    raw = b""

    def _serialize_properties(self):
        return self.raw


def test_unreadable_properties_are_stored_unchanged(start_worker, broker, app, call):
    if broker != "rabbitmq":
        pytest.skip("such properties come over a network alone")
    worker = start_worker()
    sent = {name: properties(name) for name in ("timestamp", "text", "nesting")}
    with app.connection_for_write() as connection, connection.channel() as channel:
        for raw in sent.values():
            message = Unreadable(body("ran"))
            message.raw = raw
            channel.basic_publish(message, exchange="", routing_key="celery", mandatory=True)

    found = wait_for_failed(app, len(sent))

    assert {message.headers["x-unreadable-properties"] for message in found} == {raw.hex() for raw in sent.values()}
    assert {reason(message) for message in found} == {"undecodable"}
    assert_running(worker, call)


def properties(name):
    """Return properties in bytes that py-amqp cannot read: headers, or a content type."""
    if name == "text":
        return b"\x80\x00" + b"\x03\xff\xfe\xfd"
    value = b"T" + b"\x7f" * 8 if name == "timestamp" else nested_arrays(2000)
    entry = b"\x01x" + value
    return b"\x20\x00" + struct.pack(">I", len(entry)) + entry


def nested_arrays(levels):
    value = b""
    for _ in range(levels):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


@pytest.mark.timeout(300)
def test_fuzzed_messages_run_or_fail_and_the_worker_survives(worker, app, call):
    seed = random.randrange(2**32) if os.environ.get("TEST_EXPLORE") else int(os.environ.get("FUZZ_SEED", 1))
    print("FUZZ_SEED =", seed)
    chance = random.Random(seed)
    missing = {f"fuzz-{number}" for number in range(FUZZED)}
    for name in sorted(missing):
        publish(app, name, **fuzzed(chance, name))
    assert_running(worker, call)

    deadline = time.monotonic() + WAIT + FUZZED * 0.05
    count = 0
    while missing:
        assert time.monotonic() < deadline, f"{sorted(missing)} have neither run nor failed"
        ids = {message.properties["message_id"] for message in take_failed(app)}
        count += len(ids)
        missing -= ids | finished(worker, missing)
        time.sleep(0.1)

    assert_running(worker, call)
    assert FUZZED / 4 < count < FUZZED


def finished(worker, ids):
    """Return the ids of tasks that ran or had expired."""
    lines = [line for line in worker.lines if "] succeeded in " in line or "Discarding revoked task" in line]
    return {name for name in ids if any(f"[{name}]" in line for line in lines)}


# RabbitMQ itself refuses a header that is not a number.
VALUES = [
    None, True, False, 0, -1, 1, 2**31, 2**62, 1.5, "", "x", "\0", "é" * 50, "x" * 3000,
    [], {}, [[]], {"a": None}, ["x"], [1, 2], [None, None], {"task": 5}, [{"task": None}], b"\xff\x00",
    datetime(2020, 1, 1, tzinfo=UTC), "9999-12-31T23:59:59+00:00", "2020-01-01T00:00:00", "2020-01-01",
    TASK, "celery.ping",
]  # fmt: skip
PROPERTIES = {
    "content_type": ["application/json", "application/x-python-serialize", "", "text/plain", "x" * 200],
    "content_encoding": ["utf-8", "utf-16", "binary", "hex", "", "punycode", "utf-7", "x" * 200],
    "priority": [0, 9, 255],
    "reply_to": ["", "nowhere", "\0"],
    "correlation_id": ["", "é"],
    "timestamp": [0, 2**62],
    "type": ["x"],
}


def fuzzed(chance, name):
    """Return a valid task that writes its name, with random changes."""
    of_headers = headers(id=name, root_id=name, parent_id=None, shadow=None, stamped_headers=None, stamps={})
    parts, properties = [[name], {}, dict(EMBED)], {}
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        chance.choice(CHANGES)(chance, of_headers, parts, properties)
    if chance.random() < 0.1:
        parts = chance.choice([parts[:2], [*parts, 1], {"args": [name], "kwargs": {}}, *VALUES])
    content = json.dumps(parts, default=repr).encode()
    if chance.random() < 0.2:
        content = scrambled(chance, content)
    return {"content": content, "application_headers": of_headers, **properties}


def change_header(chance, of_headers, *_):
    key = chance.choice(
        [*headers(), "root_id", "shadow", "stamps", "compression", "ignore_result", "group", "chain", "x"]
    )
    # With another task's valid id, the log lines of the two would be the same.
    of_headers[key] = chance.choice([value for value in VALUES if key != "id" or not isinstance(value, str)])


def drop_header(chance, of_headers, *_):
    of_headers.pop(chance.choice(list(headers())), None)


def change_part(chance, _headers, parts, _properties):
    parts[chance.randrange(3)] = chance.choice(VALUES)


def change_canvas(chance, _headers, parts, _properties):
    parts[2] = EMBED | {chance.choice([*EMBED, "x"]): chance.choice(VALUES)}


def change_property(chance, _headers, _parts, properties):
    key = chance.choice(list(PROPERTIES))
    properties[key] = chance.choice(PROPERTIES[key])


CHANGES = [change_header, drop_header, change_part, change_canvas, change_property]


def scrambled(chance, content):
    changed = bytearray(content)
    for _ in range(chance.choice([1, 3, 20])):
        at = chance.randrange(len(changed) + 1)
        changed[at : at + chance.choice([0, 1])] = bytes([chance.randrange(256)] * chance.choice([0, 1, 1, 2]))
    return bytes(changed) or b"x"

"""The private names of Celery, kombu and billiard that the framework uses; a test fails if upstream changes one."""

import ast
import inspect
import os
import re
import weakref
from pathlib import Path
from unittest.mock import Mock

import amqp
import billiard.pool
import celery
import celery.worker.request
import pytest
from billiard.process import BaseProcess
from celery._state import _set_task_join_will_block
from celery.backends import rpc
from celery.concurrency import asynpool
from celery.local import Proxy
from kombu import Queue, pools

import framework
from framework.broker import register
from framework.celery import compat

LIBRARY = Path(framework.__file__).parent
PRIVATE = re.compile(r"_[a-z]\w*")
#: Names that begin with an underscore and are documented: Python's, and one of aiosmtpd.
DOCUMENTED = {"_asdict", "_exit", "_factory_invoker", "_fields", "_make", "_replace"}


@pytest.fixture
def app(tmp_path):
    register()
    return celery.Celery("probe", broker=f"sqlite:///{tmp_path}/broker.db", set_as_current=False)


def test_the_application_of_a_proxy_is_returned_and_an_application_itself(app):
    assert compat.real_app(Proxy(lambda: app)) is app
    assert compat.real_app(app) is app


def test_celery_makes_an_argument_check_for_each_task(app):
    @app.task
    def add(x, y):
        return x + y

    check = compat.argument_check(add)

    check(1, y=2)
    with pytest.raises(TypeError, match="y"):
        check(1)


def test_a_task_without_typing_has_no_argument_check(app):
    @app.task(typing=False)
    def add(x, y):
        return x + y

    assert compat.argument_check(add) is None


def test_a_pool_process_has_its_reply_queue_already_and_a_caller_has_not():
    assert compat.has_reply_queue() is False

    _set_task_join_will_block(True)
    try:
        assert compat.has_reply_queue() is True
    finally:
        _set_task_join_will_block(False)


def test_an_application_opens_new_connections_after_its_pools_are_dropped(app):
    connections, producers = app.pool, app.producer_pool
    pools.connections.clear()
    pools.producers.clear()

    compat.drop_connection_pools(app)

    assert app.pool is not connections
    assert app.producer_pool is not producers
    connections.force_close_all()
    app.pool.force_close_all()


def test_a_consumer_records_the_queue_of_each_tag(app):
    with app.connection_for_read() as connection:
        consumer = compat.TaskConsumer(connection.default_channel, [Queue("mail"), Queue("sms")], on_message=print)

        consumer.consume()

        assert sorted(consumer.queue_names.values()) == ["mail", "sms"]
        assert consumer.queue_names.keys() == connection.default_channel.consumers.keys()


def test_an_application_keeps_the_name_of_a_thread_s_reply_queue_until_it_is_dropped(app):
    app._local.oid = "of the parent"
    assert app.thread_oid == "of the parent"

    compat.drop_thread_state(app)

    assert app.thread_oid != "of the parent"


def test_a_result_consumer_is_detached_from_its_connection_and_its_backend_forgets_pending_results(app):
    app.conf.result_backend = "rpc://"
    backend = app.backend
    consumer = compat.ResultConsumer(backend, app, backend.accept, backend._pending_results, backend._pending_messages)
    backend.result_consumer = consumer
    app.AsyncResult("pending").then(print)
    assert backend._pending_results.concrete | backend._pending_results.weak
    connection = consumer._connection

    kept = consumer.detach()
    compat.forget_results(backend)

    assert kept[0] is connection is not None
    assert not backend._pending_results.concrete | backend._pending_results.weak
    assert connection.connected
    connection.close()


def test_a_pool_job_has_its_process_and_whether_it_was_accepted():
    job = billiard.pool.ApplyResult({}, callback=None)

    assert compat.process_of(job) is None
    assert compat.was_accepted(job) is False
    job._ack(None, 0.0, os.getpid(), None)
    assert compat.was_accepted(job) is True


def test_celery_s_pool_stores_a_job_s_process_under_the_name_that_is_read():
    assert "._write_to = " in inspect.getsource(asynpool)
    assert "on_job_process_down" in vars(asynpool.AsynPool)


def test_a_pool_waits_for_jobs_that_a_process_was_sent_whole():
    class Sending:
        """What stands for a generator that has not ended."""

    sending, cache = Sending(), {}
    sent, partly_sent, not_sent = (billiard.pool.ApplyResult(cache, callback=None) for _ in range(3))
    sent._write_to = partly_sent._write_to = "a process"
    partly_sent._writer = weakref.ref(sending)

    compat.wait_for_written(Mock(_cache=cache))

    assert [job._accepted for job in (sent, partly_sent, not_sent)] == [True, False, False]


def test_celery_s_pool_has_a_job_s_writer_under_the_name_that_is_read():
    source = inspect.getsource(asynpool)
    assert "job._writer = ref(" in source
    assert "job._accepted" in inspect.getsource(asynpool.AsynPool.flush)
    assert "self._cache" in inspect.getsource(asynpool.AsynPool.flush)


def test_billiard_checks_that_a_process_is_alive_with_the_same_method():
    assert inspect.signature(BaseProcess._is_alive).parameters.keys() == {"self"}
    assert "._is_alive()" in inspect.getsource(billiard.pool)


def test_celery_reconnects_a_result_consumer_with_the_method_that_is_overridden():
    assert "_reconnect" in vars(rpc.ResultConsumer)
    assert "self._reconnect()" in inspect.getsource(rpc.ResultConsumer.__mro__[1]) + inspect.getsource(rpc)
    assert "_no_ack" in inspect.getsource(rpc)


@pytest.mark.parametrize(
    ("private", "public"),
    [
        ("_announce_revoked", "announce_revoked"),
        ("_success_was_stored", "success_was_stored"),
        ("_retry_worker_lost", "retry_worker_lost"),
    ],
)
def test_celery_s_request_calls_a_private_method_with_the_arguments_of_its_public_name(private, public):
    of_celery = inspect.signature(getattr(celery.worker.request.Request, private))
    of_framework = inspect.signature(getattr(compat.Request, public))

    assert list(of_celery.parameters) == list(of_framework.parameters)
    assert f"self.{private}(" in inspect.getsource(celery.worker.request.Request)


@pytest.mark.parametrize("name", ["_already_cancelled", "_already_revoked"])
def test_celery_s_request_stores_how_a_task_was_stopped(name):
    assert getattr(celery.worker.request.Request, name) is False


def test_kombu_consumes_a_queue_with_the_method_that_is_overridden(app):
    cancelled = []

    class Consumer(compat.TaskConsumer):
        def on_server_cancel(self, queue, tag):
            cancelled.append((queue.name, tag))

    class Channel(Mock):
        cancel_callbacks = {}  # noqa: RUF012

    channel = Channel()
    consumer = Consumer(channel, [Queue("celery")], auto_declare=False)
    consumer.consume()

    [tag] = channel.cancel_callbacks
    channel.cancel_callbacks.pop(tag)(tag)
    consumer.consume_again(consumer.queues[0])

    assert cancelled == [("celery", tag)]
    assert [*channel.cancel_callbacks] != [tag]
    assert "cancel_callbacks" in vars(amqp.Channel(Mock(channels={}), 1, auto_decode=False))


def test_no_other_module_uses_a_private_name_of_upstream():
    sources = {file: ast.parse(file.read_bytes()) for file in sorted(LIBRARY.rglob("*.py"))}
    del sources[LIBRARY / "celery" / "compat.py"]
    own = {name for source in sources.values() for name in defined_names(source)}
    found = [
        f"{file.relative_to(LIBRARY)}:{line}: {name}"
        for file, source in sources.items()
        for line, name in private_names(source, own)
    ]

    assert found == []


@pytest.mark.parametrize(
    "line", ["from celery._state import app", "app._pool = None", "from celery import _state", "x = task._write_to"]
)
def test_a_private_name_is_found(line):
    assert list(private_names(ast.parse(line), set()))


@pytest.mark.parametrize(
    "line",
    [
        "self._pool = None",
        "class A:\n    _x = 1\n    def f(self, other):\n        return other._x",
        "point._replace(x=1)",
        "os._exit(1)",
    ],
)
def test_names_of_the_library_and_of_python_are_allowed(line):
    source = ast.parse(line)

    assert not list(private_names(source, set(defined_names(source))))


def private_names(source, own):
    """Yield the line and the name of each private name that a module takes from others; ``own`` are the library's."""
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("framework"):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from ((node.lineno, part) for part in parts if PRIVATE.fullmatch(part))
        elif isinstance(node, ast.Attribute) and PRIVATE.fullmatch(node.attr) and node.attr not in own | DOCUMENTED:
            yield node.lineno, node.attr


def defined_names(source):
    """Yield the names that a module defines: functions, classes, variables, and attributes of ``self``."""
    for node in ast.walk(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr

"""``framework doctor``: checks that the broker, its queues and the settings fit together."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import click
from amqp.exceptions import AMQPError, NotFound, ResourceLocked
from celery import Celery
from celery.backends.base import DisabledBackend
from celery.exceptions import ImproperlyConfigured
from kombu import Queue
from kombu.exceptions import OperationalError

from framework.broker import migration
from framework.broker.deadline import Deadline
from framework.broker.delay_probe import overdue_queues
from framework.broker.delays import LEVELS, level_queue, step_queue
from framework.broker.queue_diff import differences
from framework.broker.server import server_properties
from framework.celery.app import App
from framework.celery.broker_errors import declared_queue, mismatch_error, queue_mismatch
from framework.cli.broker_check import broker_errors_in_one_line, check_broker
from framework.cli.project_check import Finding, project_findings
from framework.cli.server_faults import faults_of
from framework.config import setting
from framework.errors import FrameworkError, UnknownQueue, describe

__all__ = ["doctor"]

OLDEST_RABBITMQ = (3, 10)

#: Seconds without an acknowledgement after which RabbitMQ closes a consumer's channel by default.
CONSUMER_TIMEOUT_SECONDS = 1800

#: Seconds that a probe may take through the queues of delays.
PROBE_TIMEOUT_SECONDS = 10.0


@click.command()
@click.option(
    "--migrate",
    metavar="QUEUE",
    help="Recreate an existing queue with the declared arguments and keep its messages.",
)
@click.pass_context
def doctor(ctx: click.Context, *, migrate: str | None) -> None:
    """Check broker, queues and result backend; report each error and its fix.

    Without --migrate, it changes nothing, but declares an empty queue, celery.probe, where delays are in use. The exit
    status is 1 when there is an error.
    """
    app = ctx.obj.app
    if not isinstance(app, App):
        click.echo(f"{'wrong':<6} {_plain(app)}")
        ctx.exit(1)
    if migrate is not None:
        with broker_errors_in_one_line(app):
            check_broker(app)
            count = _migrate(app, migrate)
        click.echo(f"The queue {migrate!r} is as it is declared, with {count} message{'' if count == 1 else 's'}.")
        return
    states = set()
    findings = _findings(app)
    with broker_errors_in_one_line(app):
        while (finding := _next(app, findings)) is not None:
            click.echo(f"{finding.state:<6} {finding.text}")
            states.add(finding.state)
    ctx.exit("wrong" in states)


def _next(app: Celery, findings: Iterator[Finding]) -> Finding | None:
    """Return the next finding; each check has the time of a call."""
    with Deadline.within(_timeout(app)):
        return next(findings, None)


def _timeout(app: Celery) -> float | None:
    try:
        return float(setting(app, "task_publish_timeout"))
    except FrameworkError:  # the settings cannot be read, which is the first finding
        return None


def _plain(app: Celery) -> str:
    use = "from framework.celery.app import App"
    return (
        f"The application {app.main!r} is a celery.Celery, whose queues doctor does not know: make it an App ({use})."
    )


def _migrate(app: Celery, name: str) -> int:
    with app.connection_for_write(transport_options={"confirm_publish": True}) as connection:
        queue = declared_queue(app, name) or _missing_queue(app, connection, name)
        return migration.migrate(connection, queue)


def _missing_queue(app: Celery, connection: Any, name: str) -> Queue:
    """Return the queue that a worker with ``-Q name`` declares, where the broker has it."""
    known = {*app.amqp.queues, str(app.conf.task_failed_queue)}
    queue: Queue | None = app.amqp.queues[name] if app.conf.task_create_missing_queues else None
    if queue is None or differences(connection, queue) is None:
        raise UnknownQueue.named(name, known)
    return queue


def _findings(app: App) -> Iterator[Finding]:
    try:
        _ = app.conf.broker_url  # reads the settings
    except FrameworkError as exc:
        yield Finding("wrong", exc.message)
        return
    yield from project_findings(app)
    try:
        url = check_broker(app)
    except FrameworkError as exc:
        yield Finding("wrong", exc.message)
        return
    with app.connection_for_write() as connection:
        server = server_properties(connection)
        yield _broker(url, server)
        yield from _faults(server)
        for queue in [*app.amqp.queues.values(), app.amqp.failed_queue]:  # type: ignore[attr-defined]
            yield _queue(app, connection, queue)
            yield from _classic(queue)
            yield from _full(connection, queue)
            yield from _unfinished_migration(connection, queue.name)
        yield _dead_letters(app, connection)
        yield (delays := _delays(app, connection))
        if delays.state == "ok":
            yield from _overdue(app, connection)
    if server:
        yield _time_limit(app.conf.task_time_limit)
    yield _results(app)


def _broker(url: str, server: dict[str, Any]) -> Finding:
    version = str(server.get("version", ""))
    text = f"The broker {url} answers" + (f": {server.get('product')} {version}." if server else ".")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if server.get("product") == "RabbitMQ" and numbers < OLDEST_RABBITMQ:
        return Finding("wrong", f"{text} It is too old for our queues: 3.10 or later is needed.")
    return Finding("ok", text)


def _faults(server: dict[str, Any]) -> Iterator[Finding]:
    if server.get("product") == "RabbitMQ":
        yield from (Finding("note", fault) for fault in faults_of(str(server.get("version", ""))))


def _queue(app: Celery, connection: Any, queue: Queue) -> Finding:
    try:
        found = differences(connection, queue)
    except ResourceLocked as exc:
        return Finding("wrong", f"The queue {queue.name!r} belongs to one connection alone: {exc.reply_text}")
    if found is None:
        return Finding("ok", f"The queue {queue.name!r} is not there yet; the first call or worker makes it.")
    if found and (error := queue_mismatch(app, queue)):
        return Finding("wrong", error.message)
    return Finding("ok", f"The queue {queue.name!r} is as it is declared.")


def _classic(queue: Queue) -> Iterator[Finding]:
    arguments = queue.queue_arguments or {}
    if not queue.durable or arguments.get("x-queue-type") == "quorum":
        return
    lacks = ["it has no replica on another node"]
    if "x-dead-letter-exchange" not in arguments:
        lacks.append("a task that is rejected is deleted (no x-dead-letter-exchange)")
    else:
        lacks.append("a task that it gives up is not confirmed among the failed tasks")
    fix = "Declare it without priorities and type to have a quorum queue, which RabbitMQ 4 gives two priorities."
    yield Finding(
        "note",
        f"The queue {queue.name!r} is a classic queue: {', and '.join(lacks)}. Its workers count redeliveries. {fix}",
    )


def _full(connection: Any, queue: Queue) -> Iterator[Finding]:
    limit = queue.as_dict()["max_length"] or (queue.queue_arguments or {}).get("x-max-length")
    count = _ready(connection, queue.name) if limit is not None else None
    if limit is not None and count is not None and count >= limit:
        yield Finding(
            "wrong",
            f"The queue {queue.name!r} is full: it has {count} messages, and x-max-length is {limit}. Calls are "
            "refused, and its delayed tasks and retries wait. Have workers drain it, or give it more room.",
        )


def _overdue(app: Celery, connection: Any) -> Iterator[Finding]:
    names = [name for name in app.amqp.queues if _ready(connection, step_queue(name).name) is not None]
    if not names:  # no delay was ever used
        return
    alarms: list[str] = []
    connection.connection.on_blocked = alarms.append  # py-amqp calls it with the reason
    overdue: list[str] = []
    try:
        overdue = overdue_queues(connection, names, PROBE_TIMEOUT_SECONDS)
    except (AMQPError, OperationalError, OSError):
        if not alarms:
            raise
    if alarms:
        connection.collect()  # the broker reads nothing more from it
        yield Finding("wrong", f"The broker takes no messages ({alarms[0]}): free memory or disk space on its machine.")
        return
    for name in overdue:
        yield Finding(
            "wrong",
            f"The queue {name!r} holds delayed tasks or retries that are due: the next queue is full, or has no node "
            "that runs. Drain that queue or start its nodes; RabbitMQ delivers them within three minutes.",
        )


def _ready(connection: Any, name: str) -> int | None:
    """Return how many messages of a queue are ready; None if there is no such queue."""
    with suppress(NotFound), connection.channel() as channel:
        return int(channel.queue_declare(name, passive=True).message_count)
    return None


def _unfinished_migration(connection: Any, name: str) -> Iterator[Finding]:
    if (count := _ready(connection, migration.migration_queue(name))) is not None:
        fix = f"run `framework doctor --migrate {name}` again, which continues it."
        yield Finding("wrong", f"A migration of the queue {name!r} did not end, and keeps {count} messages: {fix}")


def _dead_letters(app: Celery, connection: Any) -> Finding:
    exchange = app.amqp.failed_queue.exchange  # type: ignore[attr-defined]
    try:
        with connection.channel() as channel:
            exchange(channel).declare(passive=True)
            exchange(channel).declare()
    except NotFound:
        return Finding("ok", f"The exchange of dead letters, {exchange.name!r}, is made with the first queue.")
    except AMQPError as exc:
        error = mismatch_error(app, exc)
        return Finding("wrong", error.message if error else f"The exchange {exchange.name!r}: {describe(exc)}")
    return Finding("ok", f"Dead letters go to the exchange {exchange.name!r}.")


def _delays(app: Celery, connection: Any) -> Finding:
    levels = [level_queue(level) for level in range(LEVELS)]
    found = {queue.name: differences(connection, queue) for queue in levels}
    for queue in levels:
        if found[queue.name] and (error := queue_mismatch(app, queue)):
            return Finding("wrong", error.message)
    missing = [name for name, differing in found.items() if differing is None]
    if len(missing) in (0, LEVELS):
        return Finding(
            "ok", f"The {LEVELS} queues of delays are {'made with the first delay' if missing else 'there'}."
        )
    return Finding("note", f"Of the queues of delays {', '.join(missing)} are missing; the next delay makes them.")


def _time_limit(limit: float | None) -> Finding:
    if limit is not None and limit < CONSUMER_TIMEOUT_SECONDS:
        return Finding("ok", f"A task is ended after {limit:g} s, before RabbitMQ's consumer_timeout of 1800 s.")
    text = "No task is ever ended" if limit is None else f"A task is ended after {limit:g} s"
    return Finding(
        "note",
        f"{text} (task_time_limit), and RabbitMQ runs it again after 1800 s unless its consumer_timeout, which cannot "
        "be seen from here, is longer.",
    )


def _results(app: Celery) -> Finding:
    try:
        backend = app.backend
    except (ImproperlyConfigured, ImportError) as exc:
        return Finding("wrong", f"The result backend cannot be used: {describe(exc)} See result_backend.")
    if isinstance(backend, DisabledBackend):
        return Finding("note", "There is no result backend: calls give no results. result_backend names one.")
    url = backend.as_uri()
    try:
        if url.partition(":")[0] != "rpc":
            backend.get_state(str(uuid4()))
    except Exception as exc:  # each backend has errors of its own
        return Finding("wrong", f"The result backend {url} does not answer: {describe(exc)}. See result_backend.")
    return Finding("ok", f"Results come back by {url}.")

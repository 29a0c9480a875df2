"""Checks of a call before it is queued: the name, the arguments, and whether the broker answers."""

import socket
import sys

import pytest

from framework.celery.app import App
from framework.discovery import catalog
from framework.errors import (
    BrokenTaskModule,
    BrokerRefused,
    BrokerUnreachable,
    DuplicateTask,
    FrameworkWarning,
    InvalidArguments,
    UnknownTask,
)

TASKS = """
import functools
from framework.celery.celery import celery
from celery import shared_task

def logged(fun):
    @functools.wraps(fun)
    def inner(*args):
        return fun("injected", *args)
    return inner

@celery.task
def mail(to, subject="Hello", *, copy=False):
    "Mail it."

@celery.task(bind=True, max_retries=3)
def again(self, number): ...

@shared_task(name="orders.ship")
def ship(*items, **options): ...

@celery.task
@logged
def wrapped(injected, value): ...

@celery.task(typing=False)
def untyped(one): ...

for _number in range(2):
    @celery.task(name=f"made.{_number}")
    def made(): ...
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """The application of a project with one task module, which is not imported yet."""
    forget_shop()
    (tmp_path / "shop/tasks").mkdir(parents=True)
    for package in ("shop", "shop/tasks"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "shop/tasks/my-mails.py").write_text(TASKS.replace("framework.celery.celery", "shop_app"))
    monkeypatch.syspath_prepend(tmp_path)
    app = App("shop", set_as_current=False, broker=f"sqlite:///{tmp_path}/broker.db", backend="disabled")
    app.conf.imports = ["shop.tasks.my-mails"]
    module = type(sys)("shop_app")
    module.celery = app
    monkeypatch.setitem(sys.modules, "shop_app", module)
    yield app
    app.pool.force_close_all()
    app.close()
    forget_shop()


def forget_shop():
    """Remove the modules and the task sources of a test's project: the whole process shares them."""
    catalog._tasks_in.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "shop"]:
        del sys.modules[name]


def queued(app):
    """Return the messages in the application's queue, and remove them."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        queue = app.amqp.queues["celery"](channel)
        queue.declare()
        return list(iter(lambda: queue.get(no_ack=True), None))


def test_a_known_name_is_queued_without_importing_its_module(shop):
    shop.send_task("shop.tasks.my-mails.mail", ("ann@x.org",), {"copy": True})

    assert "shop.tasks.my-mails" not in sys.modules
    assert len(queued(shop)) == 1


def test_a_task_with_an_explicit_name_is_found_by_it(shop):
    shop.send_task("orders.ship", (1, 2, 3), {"fast": True})

    assert len(queued(shop)) == 1


def test_the_module_s_name_is_enough_for_a_task_of_the_same_name(shop):
    shop.send_task("framework.tasks.main_task", ("Ann",))

    [message] = queued(shop)
    assert message.headers["task"] == "framework.tasks.main_task.main_task"


def test_an_unknown_name_is_refused_with_the_nearest_one_and_queues_nothing(shop):
    with pytest.raises(UnknownTask, match=r"No task is called 'shop.tasks.my-mails.mial'. Did you mean '.*\.mail'\?"):
        shop.send_task("shop.tasks.my-mails.mial")

    assert queued(shop) == []


def test_a_task_whose_name_code_computes_is_found_by_importing_its_module(shop):
    shop.send_task("made.1")

    assert len(queued(shop)) == 1


def test_an_unknown_name_is_refused_with_the_task_modules_that_are_broken(shop, tmp_path):
    (tmp_path / "shop/tasks/bad.py").write_text("import no_such_library\n")
    shop.conf.imports = ["shop.tasks.bad"]

    with pytest.raises(UnknownTask) as refused:
        shop.send_task("shop.tasks.bad.work")

    assert "No task is called 'shop.tasks.bad.work'" in refused.value.message
    assert f"{tmp_path}/shop/tasks/bad.py, line 1" in refused.value.message


@pytest.mark.parametrize("pattern", ["billing.tasks.charge", "billing.*"])
def test_a_task_of_another_project_is_queued_if_its_name_is_declared_as_remote(shop, pattern):
    shop.conf.task_remote_names = [pattern]

    shop.send_task("billing.tasks.charge", (1, 2))

    assert len(queued(shop)) == 1


def test_a_lone_string_is_sent_as_the_one_argument_with_a_warning_that_shows_the_tuple(shop):
    with pytest.warns(FrameworkWarning, match=r"Write \('ann@x.org',\)") as warned:
        shop.send_task("shop.tasks.my-mails.mail", ("ann@x.org"))

    assert warned[0].filename == __file__
    [message] = queued(shop)
    assert message.payload[0] == ["ann@x.org"]


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize(
    ("name", "args", "kwargs", "message"),
    [
        ("mail", (), {}, r"mail\(to, subject='Hello', \*, copy=False\): .*missing a? ?.*required.*argument.*'to'"),
        ("mail", ("a", "b", "c"), {}, r"mail\(to, subject='Hello', \*, copy=False\): .*positional arguments?"),
        ("mail", ("a",), {"cpoy": True}, "unexpected keyword argument 'cpoy'"),
        ("again", (), {}, r"again\(number\): .*missing"),
        ("again", ("self", 1), {}, r"again\(number\)"),
    ],
)
def test_invalid_arguments_raise_at_the_call_and_queue_nothing(shop, imported, name, args, kwargs, message):
    if imported:
        shop.loader.import_default_modules()

    with pytest.raises(InvalidArguments, match=message):
        shop.send_task(f"shop.tasks.my-mails.{name}", args, kwargs)

    assert queued(shop) == []


def test_invalid_arguments_of_delay_raise_a_type_error_as_in_celery(shop):
    shop.loader.import_default_modules()

    with pytest.raises(TypeError, match=r"shop.tasks.my-mails.mail\(to"):
        shop.tasks["shop.tasks.my-mails.mail"].delay()


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize(("name", "args"), [("wrapped", ("value",)), ("untyped", (1, 2, 3))])
def test_a_call_is_queued_if_the_arguments_of_its_task_are_unknown(shop, imported, name, args):
    if imported:
        shop.loader.import_default_modules()

    shop.send_task(f"shop.tasks.my-mails.{name}", args)

    assert len(queued(shop)) == 1


def test_two_tasks_with_one_name_are_refused_with_the_line_of_each(shop):
    @shop.task(name="orders.count", lazy=False)
    def first(): ...

    with pytest.raises(DuplicateTask) as refused:

        @shop.task(name="orders.count", lazy=False)
        def second(): ...

    line = first.__wrapped__.__code__.co_firstlineno
    assert f"'orders.count': {__file__}, line {line} and {__file__}, line " in refused.value.message


def test_one_function_decorated_with_two_names_is_two_tasks(shop):
    def work(): ...

    tasks = [shop.task(name=name, lazy=False)(work) for name in ("one", "two", "one")]

    assert [task.name for task in tasks] == ["one", "two", "one"]


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("import no_such_library\n", 1, "ModuleNotFoundError: No module named 'no_such_library'"),
        ("x = 1\ny = (\n", 2, "SyntaxError: '(' was never closed"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_file_line_and_cause(shop, tmp_path, text, line, cause):
    bad = tmp_path / "shop/tasks/bad.py"
    bad.write_text(text)

    with pytest.raises(BrokenTaskModule) as refused:
        shop.loader.import_task_module("shop.tasks.bad")

    assert refused.value.message == (
        f"The task module shop.tasks.bad cannot be imported ({bad}, line {line}): {cause}"
        + (f" (bad.py, line {line})" if cause.startswith("Syntax") else "")
    )


def test_a_missing_module_is_named(shop):
    with pytest.raises(BrokenTaskModule, match=r"shop.tasks.gone cannot be imported \(there is no such file\)"):
        shop.loader.import_task_module("shop.tasks.gone")


def test_an_unreachable_broker_is_named_without_its_password_and_with_two_fixes(shop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = taken.getsockname()[1]
        app = App("down", set_as_current=False, broker=f"amqp://me:secret@127.0.0.1:{port}//", backend="disabled")
        app.conf.task_remote_names = ["*"]

        with pytest.raises(BrokerUnreachable) as refused:
            app.send_task("any.task")

        app.close()

    message = refused.value.message
    assert f"amqp://me:**@127.0.0.1:{port}//" in message
    assert "secret" not in message
    assert "rabbitmq-server" in message
    assert "sqlite:///" in message


@pytest.mark.parametrize(("login", "vhost"), [("guest:secret", ""), ("guest:guest", "no-such-host")])
def test_a_login_that_the_broker_refuses_is_an_error_with_the_fix_and_without_the_password(rabbitmq, login, vhost):
    url = f"amqp://{login}@127.0.0.1:{rabbitmq.port}/{vhost}"
    app = App("stranger", set_as_current=False, broker=url, backend="disabled")
    app.conf.task_remote_names = ["*"]

    with pytest.raises(BrokerRefused, match="Nothing was queued") as refused:
        app.send_task("any.task")

    app.close()
    assert "Check user, password and virtual host" in refused.value.message
    assert "guest:**@127.0.0.1" in refused.value.message
    assert "secret" not in refused.value.message

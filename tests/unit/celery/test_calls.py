"""Calls are checked before they are queued: the name, the arguments, and that the broker is there."""

import socket
import sys

import celery._state
import pytest

from framework.celery.app import App
from framework.discovery import catalog
from framework.errors import (
    BrokenTaskModule,
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
    others = celery._state._on_app_finalizers
    monkeypatch.setattr(celery._state, "_on_app_finalizers", set(others))  # shared tasks reach every later app
    (tmp_path / "shop/tasks").mkdir(parents=True)
    for package in ("shop", "shop/tasks"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "shop/tasks/my-mails.py").write_text(TASKS.replace("framework.celery.celery", "shop_app"))
    monkeypatch.syspath_prepend(tmp_path)
    app = App("shop", set_as_current=False, broker="memory://", backend="disabled")
    app.conf.imports = ["shop.tasks.my-mails"]
    module = type(sys)("shop_app")
    module.celery = app
    monkeypatch.setitem(sys.modules, "shop_app", module)
    queued(app)  # the in-memory broker is one for the whole process: empty the queue of what other tests published
    yield app
    app.close()
    catalog._tasks_in.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "shop"]:
        del sys.modules[name]


def queued(app):
    with app.connection_for_read() as connection, connection.channel() as channel:
        channel.queue_declare("celery")
        return channel.queue_purge("celery")


def test_a_known_name_is_queued_without_importing_its_module(shop):
    shop.send_task("shop.tasks.my-mails.mail", ("ann@x.org",), {"copy": True})

    assert "shop.tasks.my-mails" not in sys.modules
    assert queued(shop) == 1


def test_a_task_with_a_name_of_its_own_is_known_by_it(shop):
    shop.send_task("orders.ship", (1, 2, 3), {"fast": True})

    assert queued(shop) == 1


def test_where_a_module_and_its_task_have_one_name_the_modules_is_enough(shop):
    shop.send_task("framework.tasks.main_task", ("Ann",))

    with shop.connection_for_read() as connection:
        message = connection.SimpleQueue("celery").get_nowait()
    assert message.headers["task"] == "framework.tasks.main_task.main_task"


def test_an_unknown_name_is_refused_with_the_nearest_one_and_queues_nothing(shop):
    with pytest.raises(UnknownTask, match=r"No task is called 'shop.tasks.my-mails.mial'. Did you mean '.*\.mail'\?"):
        shop.send_task("shop.tasks.my-mails.mial")

    assert queued(shop) == 0


def test_a_task_that_code_made_is_known_although_its_source_cannot_tell(shop):
    shop.send_task("made.1")

    assert queued(shop) == 1


def test_a_name_that_is_unknown_because_a_module_is_broken_says_so(shop, tmp_path):
    (tmp_path / "shop/tasks/bad.py").write_text("import no_such_library\n")
    shop.conf.imports = ["shop.tasks.bad"]

    with pytest.raises(UnknownTask) as refused:
        shop.send_task("shop.tasks.bad.work")

    assert "No task is called 'shop.tasks.bad.work'" in refused.value.message
    assert f"{tmp_path}/shop/tasks/bad.py, line 1" in refused.value.message


@pytest.mark.parametrize("pattern", ["billing.tasks.charge", "billing.*"])
def test_tasks_of_other_projects_are_declared_as_remote_names(shop, pattern):
    shop.conf.task_remote_names = [pattern]

    shop.send_task("billing.tasks.charge", (1, 2))

    assert queued(shop) == 1


def test_a_lone_string_is_sent_as_the_one_argument_with_a_warning_that_shows_the_right_way(shop):
    with pytest.warns(FrameworkWarning, match=r"Write \('ann@x.org',\)") as warned:
        shop.send_task("shop.tasks.my-mails.mail", ("ann@x.org"))

    assert warned[0].filename == __file__
    with shop.connection_for_read() as connection:
        message = connection.SimpleQueue("celery").get_nowait()
    assert message.payload[0] == ["ann@x.org"]


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize(
    ("name", "args", "kwargs", "said"),
    [
        ("mail", (), {}, r"mail\(to, subject='Hello', \*, copy=False\): .*missing a? ?.*required.*argument.*'to'"),
        ("mail", ("a", "b", "c"), {}, r"mail\(to, subject='Hello', \*, copy=False\): .*positional arguments?"),
        ("mail", ("a",), {"cpoy": True}, "unexpected keyword argument 'cpoy'"),
        ("again", (), {}, r"again\(number\): .*missing"),
        ("again", ("self", 1), {}, r"again\(number\)"),
    ],
)
def test_wrong_arguments_fail_at_the_call_and_queue_nothing(shop, imported, name, args, kwargs, said):
    if imported:
        shop.loader.import_default_modules()

    with pytest.raises(InvalidArguments, match=said):
        shop.send_task(f"shop.tasks.my-mails.{name}", args, kwargs)

    assert queued(shop) == 0


def test_wrong_arguments_of_delay_are_a_type_error_as_celery_promises(shop):
    shop.loader.import_default_modules()

    with pytest.raises(TypeError, match=r"shop.tasks.my-mails.mail\(to"):
        shop.tasks["shop.tasks.my-mails.mail"].delay()


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize(("name", "args"), [("wrapped", ("value",)), ("untyped", (1, 2, 3))])
def test_where_the_arguments_cannot_be_known_the_call_is_let_through(shop, imported, name, args):
    if imported:
        shop.loader.import_default_modules()

    shop.send_task(f"shop.tasks.my-mails.{name}", args)

    assert queued(shop) == 1


def test_two_tasks_with_one_name_are_refused_and_both_places_named(shop):
    @shop.task(name="orders.count", lazy=False)
    def first(): ...

    with pytest.raises(DuplicateTask) as refused:

        @shop.task(name="orders.count", lazy=False)
        def second(): ...

    line = first.__wrapped__.__code__.co_firstlineno
    assert f"'orders.count': {__file__}, line {line} and {__file__}, line " in refused.value.message


def test_one_function_decorated_for_two_names_is_two_tasks(shop):
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


def test_a_module_that_is_asked_for_and_missing_is_named(shop):
    with pytest.raises(BrokenTaskModule, match=r"shop.tasks.gone cannot be imported \(there is no such file\)"):
        shop.loader.import_task_module("shop.tasks.gone")


def test_a_broker_that_is_down_is_named_without_its_password_and_with_both_ways_out(shop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = taken.getsockname()[1]
        app = App("down", set_as_current=False, broker=f"amqp://me:secret@127.0.0.1:{port}//", backend="disabled")
        app.conf.task_remote_names = ["*"]

        with pytest.raises(BrokerUnreachable) as refused:
            app.send_task("any.task")

    said = refused.value.message
    assert f"amqp://me:**@127.0.0.1:{port}//" in said
    assert "secret" not in said
    assert "rabbitmq-server" in said
    assert "sqlite:///" in said

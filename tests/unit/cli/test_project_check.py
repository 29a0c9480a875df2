"""`framework doctor` finds what is wrong with a project before it asks the broker."""

import pytest

from framework.celery.app import App
from framework.cli.project_check import project_findings


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A function that returns the findings for an application with these settings and modules."""
    monkeypatch.syspath_prepend(tmp_path)

    def find(modules=None, **settings):
        for name, code in (modules or {}).items():
            (tmp_path / f"{name}.py").write_text(code)
        app = App("doctored", set_as_current=False)
        app.conf.update(settings)
        return [f"{finding.state}: {finding.text}" for finding in project_findings(app)]

    return find


def test_the_defaults_are_well(found):
    assert found() == []


def test_a_task_module_with_a_syntax_error(found):
    [line] = found({"doctored_tasks": "def broken(:\n"}, imports=["doctored_tasks"])

    assert line.startswith("wrong: The task module doctored_tasks cannot be imported")


def test_a_task_module_that_is_missing(found):
    [line] = found(imports=["no_such_module_here"])

    assert "No module named 'no_such_module_here'" in line


def test_two_tasks_of_one_name(found):
    one = "from celery import shared_task\n@shared_task(name='doctored.twice')\ndef {}(): pass\n"
    modules = {"doctored_one": one.format("one"), "doctored_two": one.format("two")}

    [line] = found(modules, imports=list(modules))

    assert line.startswith("wrong: ")
    assert "doctored.twice" in line


def test_a_schedule_with_an_unknown_task(found):
    [line] = found(beat_schedule={"nightly": {"task": "shop.tasks.no_such_task", "schedule": 60.0}})

    assert line.startswith("wrong: ")
    assert "no_such_task" in line


def test_an_unknown_time_zone(found):
    [line] = found(timezone="Mars/Phobos")

    assert line.startswith("wrong: The setting timezone names no time zone: ")
    assert "Mars/Phobos" in line


def test_a_serializer_that_is_not_accepted(found):
    [tasks, results] = found(accept_content=["yaml"])

    assert tasks.startswith("wrong: The serializer of task_serializer is not accepted: add 'json' to accept_content")
    assert results.startswith("wrong: The serializer of result_serializer is not accepted")


def test_a_serializer_that_does_not_exist(found):
    assert found(task_serializer="jason") == ["wrong: The setting task_serializer names no serializer: 'jason'."]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"task_acks_late": False}, "task_acks_late"),
        ({"task_always_eager": True}, "task_always_eager"),
        ({"broker_transport_options": {"confirm_publish": False}}, "confirm_publish"),
    ],
)
def test_a_setting_that_gives_up_a_guarantee(found, settings, named):
    [line] = found(**settings)

    assert line.startswith("note: ")
    assert named in line

"""The settings: our defaults, over them celeryconfig.py, over both Celery's environment variables."""

import subprocess
import sys
from pathlib import Path

import pytest

from framework.celery.app import App
from framework.config import DEFAULTS, settings_from
from framework.errors import FrameworkWarning, UnknownSetting

ROOT = Path(__file__).parents[2]


def settings_of(folder, config, *, ask, **environment):
    """What a fresh process in ``folder`` says of its settings, and what it prints as errors."""
    if config is not None:
        (folder / "celeryconfig.py").write_text(config)
    code = f"from framework.celery.celery import celery\nconf = celery.conf\nprint({ask})"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_project_s_settings_replace_our_defaults():
    found = settings_from({"task_acks_late": False}, place="celeryconfig.py")

    assert found == DEFAULTS | {"task_acks_late": False}


def test_the_file_wins_over_our_defaults_and_the_environment_over_both(tmp_path):
    config = "broker_url = 'amqp://file//'\nworker_prefetch_multiplier = 7\n"
    ask = "conf.broker_url, conf.worker_prefetch_multiplier, conf.task_acks_late"

    run = settings_of(tmp_path, config, ask=ask, CELERY_BROKER_URL="sqlite:///from-environment.db")

    assert run.stdout.split("\n")[0] == "sqlite:///from-environment.db 7 True"


def test_without_a_configuration_file_the_defaults_hold(tmp_path):
    run = settings_of(tmp_path, None, ask="conf.broker_url, conf.result_backend")

    assert run.stdout == "amqp://guest:guest@localhost:5672// rpc://\n"


def test_results_come_over_the_broker_unless_the_environment_says_otherwise(tmp_path):
    backend = "db+sqlite:///results.db"

    assert settings_of(tmp_path, "", ask="conf.result_backend").stdout == "rpc://\n"
    assert settings_of(tmp_path, "", ask="conf.result_backend", CELERY_RESULT_BACKEND=backend).stdout == f"{backend}\n"


def test_celery_config_module_names_another_file(tmp_path):
    (tmp_path / "live.py").write_text("task_default_queue = 'live'\n")

    run = settings_of(
        tmp_path, "task_default_queue = 'other'\n", ask="conf.task_default_queue", CELERY_CONFIG_MODULE="live"
    )

    assert run.stdout == "live\n"


def test_a_missing_configuration_module_is_an_error_where_it_was_named(tmp_path):
    run = settings_of(tmp_path, None, ask="conf.broker_url", CELERY_CONFIG_MODULE="gone")

    assert "BrokenConfig: The configuration gone cannot be read" in run.stderr


def test_a_configuration_that_cannot_be_imported_says_where_and_why(tmp_path):
    run = settings_of(tmp_path, "import os\nimport redis_of_mine\n", ask="conf.broker_url")

    assert f"{tmp_path}/celeryconfig.py, line 2): ModuleNotFoundError: No module named 'redis_of_mine'" in run.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BROKER_URL", "broker_url"),
        ("CELERY_IMPORTS", "imports"),
        ("CELERYBEAT_SCHEDULE", "beat_schedule"),
        ("CELERY_TASK_RESULT_EXPIRES", "result_expires"),
        ("CELERY_TIMEZONE", "timezone"),
        ("CELERYD_CONCURRENCY", "worker_concurrency"),
        ("CELERY_RESULT_BACKEND", "result_backend"),
    ],
)
def test_old_names_are_translated_with_a_warning_that_has_the_new_name(old, new):
    with pytest.warns(FrameworkWarning, match=f"celeryconfig.py: the setting {old} is called {new} today"):
        found = settings_from({old: "value"}, place="celeryconfig.py")

    assert found[new] == "value"
    assert old not in found


def test_when_a_setting_is_given_under_both_names_the_new_one_counts():
    with pytest.warns(FrameworkWarning):
        found = settings_from({"BROKER_URL": "amqp://old//", "broker_url": "amqp://new//"}, place="celeryconfig.py")

    assert found["broker_url"] == "amqp://new//"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("task_ack_late", "task_acks_late"),
        ("worker_prefetch_multipler", "worker_prefetch_multiplier"),
        ("broker_ulr", "broker_url"),
        ("TASK_ACKS_LATE", "task_acks_late"),
        ("task_remote_name", "task_remote_names"),
    ],
)
def test_a_mistyped_setting_is_refused_with_the_nearest_right_name(typed, meant):
    with pytest.raises(UnknownSetting, match=f"celeryconfig.py: '{typed}' is not a setting. Did you mean '{meant}'"):
        settings_from({typed: 1}, place="celeryconfig.py")


def test_an_unknown_setting_that_is_near_nothing_is_refused_too():
    with pytest.raises(UnknownSetting, match="'colour' is not a setting"):
        settings_from({"colour": "blue"}, place="celeryconfig.py")


def test_imports_private_names_and_constants_of_a_configuration_are_not_settings():
    import os
    from datetime import timedelta

    source = {"os": os, "timedelta": timedelta, "_here": 1, "BASE_DIR": "/srv", "find": settings_from}

    assert settings_from(source, place="celeryconfig.py").keys() - DEFAULTS.keys() == {"BASE_DIR"}


def test_transport_options_of_the_project_are_added_to_ours():
    found = settings_from({"broker_transport_options": {"read_timeout": 5}}, place="celeryconfig.py")

    assert found["broker_transport_options"] == {"confirm_publish": True, "read_timeout": 5}


def test_a_setting_may_be_a_function():
    def route(name, *_):
        return {"queue": name}

    assert settings_from({"task_routes": route}, place="celeryconfig.py")["task_routes"] is route


def test_settings_of_another_package_are_declared():
    theirs = {"third_party_settings": ["redbeat_*"], "redbeat_redis_url": "redis://"}

    assert settings_from(theirs, place="celeryconfig.py")["redbeat_redis_url"] == "redis://"


def test_a_namespace_picks_the_settings_out_of_a_module_that_holds_others():
    found = settings_from({"CELERY_TASK_ACKS_LATE": False, "DEBUG": True}, place="settings", namespace="CELERY")

    assert found == DEFAULTS | {"task_acks_late": False}


def test_config_from_object_keeps_the_defaults_and_refuses_typos(tmp_path):
    (tmp_path / "settings.py").write_text("CELERY_TASK_ACKS_LATE = False\nCELERY_TASK_ACK_LATER = 1\nDEBUG = True\n")
    (tmp_path / "run.py").write_text(
        "from framework.celery.app import App\n"
        "app = App('mine'); app.config_from_object('settings', namespace='CELERY')\n"
        "app.conf.task_acks_late\n"
    )

    run = subprocess.run(
        [sys.executable, "run.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "settings: 'task_ack_later' is not a setting. Did you mean 'task_acks_late'?" in run.stderr


DJANGO = """
import os, sys
from django.conf import settings
settings.configure(CELERY_TASK_ACKS_LATE=False, {more})
from framework.celery.app import App
app = App("shop", set_as_current=False)
app.config_from_object("django.conf:settings", namespace="CELERY")
print(app.conf.task_acks_late, app.conf.get("email_task_config"))
"""


@pytest.fixture
def in_django(tmp_path):
    """Run an application with settings of Django in a fresh process."""

    def run(**more):
        code = DJANGO.format(more=", ".join(f"{name}={value!r}" for name, value in more.items()))
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_django_settings_without_a_secret_key_are_read(in_django):
    """A21"""
    run = in_django()

    assert run.stdout == "False None\n", run.stderr


def test_of_an_object_with_a_namespace_only_names_with_its_prefix_are_read():
    """A21"""

    class Settings:
        MINE_TASK_ACKS_LATE = False

        @property
        def database(self):
            raise AssertionError("it has been read")

    app = App("mine", set_as_current=False)
    app.config_from_object(Settings(), namespace="MINE")

    assert app.conf.task_acks_late is False


def test_django_settings_of_other_packages_are_passed_on_with_one_note(in_django):
    """A21"""
    run = in_django(CELERY_EMAIL_TASK_CONFIG={"queue": "mail"}, CELERY_EMAIL_CHUNK_SIZE=5, CELERY_HAYSTACK_QUEUE="x")

    assert run.stdout == "False {'queue': 'mail'}\n", run.stderr
    notes = [line for line in run.stderr.splitlines() if "FrameworkWarning" in line]
    assert len(notes) == 1
    assert "CELERY_EMAIL_CHUNK_SIZE, CELERY_EMAIL_TASK_CONFIG, CELERY_HAYSTACK_QUEUE" in notes[0]


def test_django_settings_of_other_packages_that_are_declared_need_no_note(in_django):
    """A21"""
    run = in_django(CELERY_EMAIL_TASK_CONFIG={"queue": "mail"}, CELERY_THIRD_PARTY_SETTINGS=["email_*"])

    assert run.stdout == "False {'queue': 'mail'}\n"
    assert run.stderr == ""


@pytest.mark.parametrize("typed", ["CELERY_TASK_ACK_LATE", "CELERY_TASK_ALWAYS_EAGR", "CELERY_BROKER_ULR"])
def test_a_mistyped_setting_of_a_namespace_is_refused_among_those_of_other_packages(typed):
    """A21"""
    with pytest.raises(UnknownSetting, match="Did you mean"):
        settings_from({typed: 1, "CELERY_EMAIL_TASK_CONFIG": {}}, place="settings", namespace="CELERY")

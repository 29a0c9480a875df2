"""A celeryconfig.py: the settings of a project."""

from framework import __version__, find_tasks_in_project
from framework.celery.app import App

broker_url = "amqp://guest:guest@localhost:5672//"
imports: list[str] = find_tasks_in_project("project")
beat_schedule = {"nightly": {"task": "shop.ship", "schedule": 86_400.0, "args": (1,)}}

own = App("project", set_as_current=False)
own.conf.update(task_default_queue=f"project-{__version__}")


@own.task
def tidy() -> None:
    own.conf.update(timezone="Europe/Madrid")

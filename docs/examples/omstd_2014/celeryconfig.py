from datetime import timedelta

from utils import find_tasks_in_project

BROKER_URL = "amqp://guest:guest@localhost:5672//"
CELERY_RESULT_BACKEND = "amqp"

CELERY_IMPORTS = find_tasks_in_project("framework")
CELERY_TASK_RESULT_EXPIRES = 3600
CELERY_TIMEZONE = "Europe/Madrid"
CELERY_ENABLE_UTC = True

CELERYBEAT_SCHEDULE = {
    "check the links": {
        "task": "framework.tasks.check_links.check_links",
        "schedule": timedelta(seconds=3),
        "args": (["http://example.net", "https://example.net"],),
    },
}

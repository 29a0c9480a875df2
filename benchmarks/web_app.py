"""What ``web.py`` measures: a site whose visitors watch tasks, and the tasks."""

import os
import time

from flask import Flask, jsonify

from framework.celery.app import App
from framework.progress import progress
from framework.web.flask import TaskProgress

celery = App("web_app", broker=os.environ["CELERY_BROKER_URL"])


@celery.task(name="ticking", track=True)
def ticking(seconds, interval):
    """Say what time it is, in a message, every ``interval`` seconds."""
    with progress(total=seconds, name="ticking") as step:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            step.message(repr(time.time()))
            time.sleep(interval)


def create_app():
    app = Flask(__name__)
    app.config.update(SECRET_KEY="only a benchmark", TASK_PROGRESS_MAX_SOCKETS=5000)
    shows = TaskProgress(app, celery=celery)

    @app.get("/url/<task>")
    def url(task):
        return jsonify(url=shows.url(task), pid=os.getpid())

    return app

"""The site and the task that ``web.py`` measures."""

import os
import time

from flask import Flask, jsonify, render_template_string

from framework.celery.app import App
from framework.progress import progress
from framework.web.flask import TaskProgress

PAGE = """<!doctype html>
<html lang="en"><title>How late are we?</title>
<script>
  window.delays = [];
  document.addEventListener("task-progress:update", (event) => {
    const sent = Number(event.detail.progress?.message);
    // The time on the screen counts, so wait for the next frame.
    if (sent) requestAnimationFrame(() => window.delays.push(Date.now() / 1000 - sent));
  });
</script>
{{ task_progress_script() }}
{{ task_progress(task) }}
</html>"""

celery = App("web_app", broker=os.environ["CELERY_BROKER_URL"])


@celery.task(name="ticking", track=True)
def ticking(seconds, interval):
    """Report the time in a message, every ``interval`` seconds."""
    with progress(total=seconds, name="ticking") as step:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            step.message(repr(time.time()))
            time.sleep(interval)


def create_app():
    app = Flask(__name__)
    app.config.update(SECRET_KEY="only a benchmark", TASK_PROGRESS_MAX_SOCKETS=5000, TASK_PROGRESS_VISITOR_SOCKETS=5000)
    task_progress = TaskProgress(app, celery=celery)

    @app.get("/page/<task>")
    def page(task):
        return render_template_string(PAGE, task=task)

    @app.get("/url/<task>")
    def url(task):
        return jsonify(url=task_progress.url(task), pid=os.getpid())

    return app

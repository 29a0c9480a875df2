import os

from flask import Flask, redirect, render_template_string, url_for
from shop.tasks.report import report

from framework.web.flask import TaskProgress

PAGE = """<!doctype html>
<html lang="en">
<title>The report</title>
{{ task_progress_script() }}
{{ task_progress(task) }}
</html>"""

progress = TaskProgress()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]
    progress.init_app(app)
    app.add_url_rule("/reports", "order", order, methods=["POST"])
    app.add_url_rule("/reports/<task>", "show", show)
    return app


def order():
    return redirect(url_for("show", task=report.delay(40).id))


def show(task: str):
    return render_template_string(PAGE, task=task)

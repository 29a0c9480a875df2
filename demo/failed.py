"""Failed tasks: listed, retried, dropped."""

from flask import Blueprint, flash, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from demo.formats import source
from demo.settings import data
from demo.tasks.shop import print_invoice
from framework.celery.celery import celery
from framework.errors import UnknownFailure
from framework.failures import ALL, Failures

blueprint = Blueprint("failed", __name__)
PAGE_SIZE = 20


@blueprint.get("/failed")
def show() -> str:
    """Show the failed tasks, the oldest first."""
    failures = Failures(celery)
    context = {"failed": failures.page(PAGE_SIZE), "count": failures.count(), "paper": (data() / "paper").exists()}
    return render_template("failed.html", **context, code=source(print_invoice, retry_all, retry_or_drop))


@blueprint.post("/failed/invoice")
def invoice() -> ResponseReturnValue:
    """Queue a task that fails as long as there is no paper."""
    print_invoice.delay(2026)
    return reload(g.texts["invoice_ordered"])


@blueprint.post("/failed/paper")
def paper() -> ResponseReturnValue:
    """Put paper in, or take it out."""
    tray = data() / "paper"
    tray.unlink() if tray.exists() else tray.touch()
    return reload(g.texts["paper_in" if tray.exists() else "paper_out"])


@blueprint.post("/failed/retry")
def retry_all() -> ResponseReturnValue:
    """Retry every failed task."""
    return reload(g.texts["sent_again"].format(count=Failures(celery).retry(ALL)))


@blueprint.post("/failed/<task_id>/<any(retry, drop):act>")
def retry_or_drop(task_id: str, act: str) -> ResponseReturnValue:
    """Retry one failed task, or delete it for good."""
    try:
        count = getattr(Failures(celery), act)([task_id])
    except UnknownFailure:  # another user was faster
        count = 0
    return reload(g.texts["sent_again" if act == "retry" else "dropped"].format(count=count))


def reload(message: str) -> ResponseReturnValue:
    """Redirect to the page, with a message."""
    flash(message)
    return redirect(url_for("failed.show"), 303)

"""Failed tasks: seen, sent again, or dropped."""

from flask import Blueprint, flash, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from demo.settings import data
from demo.shown import source
from demo.tasks.shop import print_invoice
from framework.celery.celery import celery
from framework.errors import UnknownFailure
from framework.failures import ALL, Failures

blueprint = Blueprint("failed", __name__)
SHOWN = 20


@blueprint.get("/failed")
def show() -> str:
    """The failed tasks, the oldest first."""
    failures = Failures(celery)
    shown = {"failed": failures.page(SHOWN), "count": failures.count(), "paper": (data() / "paper").exists()}
    return render_template("failed.html", **shown, code=source(print_invoice, retry_all, settle))


@blueprint.post("/failed/invoice")
def invoice() -> ResponseReturnValue:
    """Order what fails as long as there is no paper."""
    print_invoice.delay(2026)
    return back(g.texts["invoice_ordered"])


@blueprint.post("/failed/paper")
def paper() -> ResponseReturnValue:
    """Put paper in, or take it out."""
    tray = data() / "paper"
    tray.unlink() if tray.exists() else tray.touch()
    return back(g.texts["paper_in" if tray.exists() else "paper_out"])


@blueprint.post("/failed/retry")
def retry_all() -> ResponseReturnValue:
    """Send every failed task again."""
    return back(g.texts["sent_again"].format(count=Failures(celery).retry(ALL)))


@blueprint.post("/failed/<task_id>/<any(retry, drop):act>")
def settle(task_id: str, act: str) -> ResponseReturnValue:
    """Send one failed task again, or delete it for good."""
    try:
        count = getattr(Failures(celery), act)([task_id])
    except UnknownFailure:  # somebody else was faster
        count = 0
    return back(g.texts["sent_again" if act == "retry" else "dropped"].format(count=count))


def back(message: str) -> ResponseReturnValue:
    """The page again, with a message."""
    flash(message)
    return redirect(url_for("failed.show"), 303)

"""The schedule: who leads, what comes next, and a hand on it."""

from pprint import pformat

from flask import Blueprint, abort, flash, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from demo import shop
from demo.shown import source
from demo.tasks.shop import count_mails
from framework.celery.celery import celery
from framework.errors import UnknownEntry
from framework.schedule.control import Schedules

blueprint = Blueprint("schedule", __name__)


@blueprint.get("/schedule")
def show() -> str:
    """Every entry, and what the tasks have done."""
    schedules = Schedules(celery)
    code = f"beat_schedule = {pformat(celery.conf.beat_schedule)}\n\n\n{source(count_mails)}"
    return render_template(
        "schedule.html", status=schedules.status(), zone=schedules.timezone, seen=shop.seen(), code=code
    )


@blueprint.post("/schedule/<name>/<any(run, pause, resume):act>")
def control(name: str, act: str) -> ResponseReturnValue:
    """Run an entry now, pause it, or have it go on."""
    try:
        getattr(Schedules(celery), act)(name)
    except UnknownEntry:
        abort(404)
    flash(g.texts[f"did_{act}"].format(name=name))
    return redirect(url_for("schedule.show"), 303)

"""The schedule: its leader, its entries, and their controls."""

from pprint import pformat

from flask import Blueprint, abort, flash, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from demo import shop
from demo.formats import source
from demo.tasks.shop import count_mails
from framework.celery.celery import celery
from framework.errors import UnknownEntry
from framework.schedule import Schedules

blueprint = Blueprint("schedule", __name__)


@blueprint.get("/schedule")
def show() -> str:
    """Show every entry, and the results of the tasks."""
    schedules = Schedules(celery)
    code = f"beat_schedule = {pformat(celery.conf.beat_schedule)}\n\n\n{source(count_mails)}"
    return render_template("schedule.html", status=schedules.status(), results=shop.results(), code=code)


@blueprint.post("/schedule/<name>/<any(run, pause, resume):act>")
def control(name: str, act: str) -> ResponseReturnValue:
    """Run an entry now, pause it, or resume it."""
    try:
        getattr(Schedules(celery), act)(name)
    except UnknownEntry:
        abort(404)
    flash(g.texts[f"did_{act}"].format(name=name))
    return redirect(url_for("schedule.show"), 303)

"""A third party is asked, and its answer appears on the page by itself."""

from flask import Blueprint, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from demo import parcels
from demo.shown import source
from demo.tasks.lookup import look_up
from framework.errors import OverLimit
from framework.limits import Limit
from framework.progress import last_state

blueprint = Blueprint("lookup", __name__)
PER_VISITOR = Limit("10/m", name="demo.lookup")
KEPT = 3


@blueprint.get("/lookup")
def show() -> str:
    """What this visitor asked last, with the answers that there are."""
    asked = session.get("asked", [])
    return page(answers=[(task_id, number, last_state(task_id)) for task_id, number in asked])


@blueprint.post("/lookup")
def ask() -> ResponseReturnValue:
    """Queue the question."""
    number = request.form.get("number", "").strip().upper()
    if not parcels.NUMBER.fullmatch(number):
        return page(number=number, wrong=g.texts["bad_number"]), 422
    try:
        PER_VISITOR.take(request.remote_addr)
    except OverLimit as over:
        return page(number=number, wrong=g.texts["too_many"]), 429, {"Retry-After": str(round(over.retry_after))}
    result = look_up.delay(number, g.lang)
    session["asked"] = [(result.id, number), *session.get("asked", [])][:KEPT]
    return redirect(url_for("lookup.show"), 303)


def page(number: str = "", wrong: str = "", answers: object = ()) -> str:
    """The page, with what was typed and what is wrong with it."""
    code = source(look_up, parcels.ask)
    return render_template("lookup.html", number=number, wrong=wrong, answers=answers, code=code)

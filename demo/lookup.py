"""The parcel lookup: a task requests a third-party API, and the result appears on the page."""

from flask import Blueprint, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from demo import parcels
from demo.formats import source
from demo.tasks.lookup import look_up
from framework.errors import OverLimit
from framework.limits import Limit
from framework.progress import last_state

blueprint = Blueprint("lookup", __name__)
PER_VISITOR = Limit("10/m", name="demo.lookup", address=True)
LOOKUPS_PER_VISITOR = 3


@blueprint.get("/lookup")
def show() -> str:
    """Show this visitor's last lookups, with their results."""
    lookups = session.get("lookups", [])
    return page(results=[(task_id, number, last_state(task_id)) for task_id, number in lookups])


@blueprint.post("/lookup")
def submit() -> ResponseReturnValue:
    """Queue the lookup."""
    number = request.form.get("number", "").strip().upper()
    if not parcels.NUMBER.fullmatch(number):
        return page(number=number, error=g.texts["bad_number"]), 422
    try:
        PER_VISITOR.take(request.remote_addr)
    except OverLimit as over:
        return page(number=number, error=g.texts["too_many"]), 429, {"Retry-After": str(round(over.retry_after))}
    result = look_up.delay(number, g.lang)
    session["lookups"] = [(result.id, number), *session.get("lookups", [])][:LOOKUPS_PER_VISITOR]
    return redirect(url_for("lookup.show"), 303)


def page(number: str = "", error: str = "", results: object = ()) -> str:
    """Return the page, with the number of the form and its error."""
    code = source(look_up, parcels.fetch)
    return render_template("lookup.html", number=number, error=error, results=results, code=code)

"""The pages that only show something."""

from flask import Blueprint, g, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from demo import postbox

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def home() -> str:
    """What there is to see."""
    return render_template("home.html")


@blueprint.get("/mails")
def mails() -> str:
    """The mails that have come in, newest first."""
    return render_template("mails.html", mails=list(postbox.mails()))


def refuse(error: HTTPException) -> ResponseReturnValue:
    """What did not work, in the visitor's language; redirects are not to be seen."""
    if error.code is None or error.code < 400:
        return error.get_response()
    why = g.texts.get(f"error_{error.code}", g.texts["error"])
    return render_template("error.html", code=error.code, why=why), error.code

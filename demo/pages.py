"""The pages without a form: home, mails and errors."""

from flask import Blueprint, g, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from demo import mail_server

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def home() -> str:
    """Show the list of pages."""
    return render_template("home.html")


@blueprint.get("/mails")
def mails() -> str:
    """Show the received mails, newest first."""
    return render_template("mails.html", mails=list(mail_server.mails()))


def error_page(error: HTTPException) -> ResponseReturnValue:
    """Return the page of an HTTP error in the visitor's language; redirects stay as they are."""
    if error.code is None or error.code < 400:
        return error.get_response()
    reason = g.texts.get(f"error_{error.code}", g.texts["error"])
    return render_template("error.html", code=error.code, reason=reason), error.code

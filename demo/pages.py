"""The pages that only show something."""

from flask import Blueprint, current_app, render_template

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def home() -> str:
    """What there is to see."""
    return render_template("home.html")


@blueprint.get("/mails")
def mails() -> str:
    """The mails that have come in, newest first."""
    mailbox = current_app.config["MAILBOX"]
    return render_template("mails.html", mails=list(reversed(mailbox.messages)) if mailbox else [])

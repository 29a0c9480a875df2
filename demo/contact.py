"""The contact form: the page answers at once, and a task sends the mail."""

import math
import re
from uuid import uuid4

from flask import Blueprint, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from demo import mail_server
from demo.formats import source
from framework.errors import OverLimit
from framework.limits import Limit
from framework.tasks.send_mails import send_mail

blueprint = Blueprint("contact", __name__)
PER_VISITOR = Limit("1/10s", name="demo.contact", address=True)
ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
SUBJECT, TEXT = 120, 5000
MAILS_PER_VISITOR = 3
REFUSALS = 2


@blueprint.get("/contact")
def show() -> str:
    """Show the empty form, and the state of this visitor's last mails."""
    return form({}, {})


@blueprint.post("/contact")
def send() -> ResponseReturnValue:
    """Queue the mail, or show the form again with its fields filled in."""
    fields = {name: request.form.get(name, "").strip() for name in ("sender", "subject", "text", "refuse")}
    if errors := validate(fields):
        return form(fields, errors), 422
    try:
        PER_VISITOR.take(request.remote_addr)
    except OverLimit as over:
        seconds = math.ceil(over.retry_after)
        return form(fields, {}, retry_after=seconds), 429, {"Retry-After": str(seconds)}
    task_id = str(uuid4())
    if fields["refuse"]:
        mail_server.refuse_first(task_id, REFUSALS)
    send_mail.apply_async((fields["sender"], fields["subject"], fields["text"]), task_id=task_id)
    session["sent"] = [task_id, *session.get("sent", [])][:MAILS_PER_VISITOR]
    flash(g.texts["thanks"])
    return redirect(url_for("contact.show"), 303)


def form(fields: dict[str, str], errors: dict[str, str], retry_after: int = 0) -> str:
    """Return the page; ``retry_after`` is the seconds until the visitor may send again."""
    context = {"fields": fields, "errors": errors, "retry_after": retry_after, "sent": session.get("sent", [])}
    return render_template("contact.html", **context, code=source(send, send_mail))


def validate(fields: dict[str, str]) -> dict[str, str]:
    """Return the error of each invalid field, in the visitor's language."""
    errors = {}
    if not ADDRESS.fullmatch(fields["sender"]):
        errors["sender"] = g.texts["bad_sender"]
    if not fields["subject"].isprintable() or not 0 < len(fields["subject"]) <= SUBJECT:
        errors["subject"] = g.texts["bad_subject"]
    if not 0 < len(fields["text"]) <= TEXT:
        errors["text"] = g.texts["bad_text"]
    return errors

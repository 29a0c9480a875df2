"""The contact form: answered at once, while the mail goes out behind it."""

import math
import re
from uuid import uuid4

from flask import Blueprint, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from demo import postbox
from demo.shown import source
from framework.errors import OverLimit
from framework.limits import Limit
from framework.tasks.send_mails import send_mail

blueprint = Blueprint("contact", __name__)
PER_VISITOR = Limit("1/10s", name="demo.contact")
ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
SUBJECT, TEXT = 120, 5000
KEPT = 3
REFUSALS = 2


@blueprint.get("/contact")
def show() -> str:
    """The empty form, and how this visitor's last mails are doing."""
    return form({}, {})


@blueprint.post("/contact")
def send() -> ResponseReturnValue:
    """Queue the mail, or show the form again with what was typed."""
    kept = {name: request.form.get(name, "").strip() for name in ("sender", "subject", "text", "refuse")}
    if wrong := mistakes(kept):
        return form(kept, wrong), 422
    try:
        PER_VISITOR.take(request.remote_addr)
    except OverLimit as over:
        seconds = math.ceil(over.retry_after)
        return form(kept, {}, again=seconds), 429, {"Retry-After": str(seconds)}
    task_id = str(uuid4())
    if kept["refuse"]:
        postbox.refuse_at_first(task_id, REFUSALS)
    send_mail.apply_async((kept["sender"], kept["subject"], kept["text"]), task_id=task_id)
    session["sent"] = [task_id, *session.get("sent", [])][:KEPT]
    flash(g.texts["thanks"])
    return redirect(url_for("contact.show"), 303)


def form(kept: dict[str, str], wrong: dict[str, str], again: int = 0) -> str:
    """The page; ``again`` is in how many seconds the visitor may send."""
    sent, code = session.get("sent", []), source(send, send_mail)
    return render_template("contact.html", kept=kept, wrong=wrong, again=again, sent=sent, code=code)


def mistakes(fields: dict[str, str]) -> dict[str, str]:
    """What is wrong with each field, in the visitor's language."""
    wrong = {}
    if not ADDRESS.fullmatch(fields["sender"]):
        wrong["sender"] = g.texts["bad_sender"]
    if not fields["subject"].isprintable() or not 0 < len(fields["subject"]) <= SUBJECT:
        wrong["subject"] = g.texts["bad_subject"]
    if not 0 < len(fields["text"]) <= TEXT:
        wrong["text"] = g.texts["bad_text"]
    return wrong

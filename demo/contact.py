"""The contact form: answered at once, while the mail goes out behind it."""

import math
import re

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from demo.texts import TEXTS
from framework.errors import OverLimit
from framework.limits import Limit
from framework.tasks.send_mails import send_mail

blueprint = Blueprint("contact", __name__)
PER_VISITOR = Limit("1/10s", name="demo.contact")
ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
SUBJECT, TEXT = 120, 5000


@blueprint.get("/contact")
def show() -> str:
    """The empty form."""
    return render_template("contact.html", kept={}, wrong={})


@blueprint.post("/contact")
def send() -> ResponseReturnValue:
    """Queue the mail, or show the form again with what was typed."""
    kept = {name: request.form.get(name, "").strip() for name in ("sender", "subject", "text")}
    if wrong := mistakes(kept):
        return render_template("contact.html", kept=kept, wrong=wrong), 422
    try:
        PER_VISITOR.take(request.remote_addr)
    except OverLimit as over:
        seconds = math.ceil(over.retry_after)
        again = TEXTS[g.lang]["again"].format(seconds=seconds)
        return render_template("contact.html", kept=kept, wrong={"form": again}), 429, {"Retry-After": str(seconds)}
    send_mail.delay(kept["sender"], kept["subject"], kept["text"])
    flash(TEXTS[g.lang]["thanks"])
    return redirect(url_for("contact.show"), 303)


def mistakes(fields: dict[str, str]) -> dict[str, str]:
    """What is wrong with each field, in the visitor's language."""
    texts, wrong = TEXTS[g.lang], {}
    if not ADDRESS.fullmatch(fields["sender"]):
        wrong["sender"] = texts["bad_sender"]
    if not fields["subject"].isprintable() or not 0 < len(fields["subject"]) <= SUBJECT:
        wrong["subject"] = texts["bad_subject"]
    if not 0 < len(fields["text"]) <= TEXT:
        wrong["text"] = texts["bad_text"]
    return wrong

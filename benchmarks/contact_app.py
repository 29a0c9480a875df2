"""The demo's contact form, and the same form without tasks: the mail is sent in the request."""

from flask import redirect, request, url_for

from demo import create_app
from demo.contact import PER_VISITOR, form, validate
from framework.contrib import mail

app = create_app()


@app.post("/contact-in-the-request")
def send():
    fields = {name: request.form.get(name, "").strip() for name in ("sender", "subject", "text")}
    if errors := validate(fields):
        return form(fields, errors), 422
    PER_VISITOR.take(request.remote_addr)
    mail.send(fields["sender"], fields["subject"], fields["text"])
    return redirect(url_for("contact.show"), 303)

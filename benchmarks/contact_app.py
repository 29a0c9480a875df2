"""The demo's contact form, and beside it the same one as it would be without tasks: the mail is sent in the request."""

from flask import redirect, request, url_for

from demo import create_app
from demo.contact import PER_VISITOR, form, mistakes
from framework.contrib import mail

app = create_app()


@app.post("/contact-in-the-request")
def send():
    kept = {name: request.form.get(name, "").strip() for name in ("sender", "subject", "text")}
    if wrong := mistakes(kept):
        return form(kept, wrong), 422
    PER_VISITOR.take(request.remote_addr)
    mail.send(kept["sender"], kept["subject"], kept["text"])
    return redirect(url_for("contact.show"), 303)

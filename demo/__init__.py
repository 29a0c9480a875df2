"""A Flask application that shows the framework: a contact form, and a report with a progress bar."""

import secrets
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, abort, g, request, session

from demo import contact, pages, report
from demo.texts import TEXTS
from framework.web.flask import TaskProgress

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The application; settings come from variables such as ``DEMO_SECRET_KEY``, then from ``config``."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secrets.token_hex(), MAX_CONTENT_LENGTH=64 * 1024, REPORT_SALES=10_000_000, MAILBOX=None
    )
    app.config.update(SESSION_COOKIE_SAMESITE="Lax")
    app.config.from_prefixed_env("DEMO")
    app.config.update(config or {})
    TaskProgress(app)
    for page in (pages, contact, report):
        app.register_blueprint(page.blueprint)
    app.before_request(choose_language)
    app.before_request(check_form)
    app.after_request(protect)
    app.context_processor(lambda: {"t": TEXTS[g.lang], "lang": g.lang, "form_token": form_token()})
    return app


def choose_language() -> None:
    """What the visitor chose, or else what the browser asks for."""
    if request.args.get("lang") in TEXTS:
        session["lang"] = request.args["lang"]
    g.lang = session.get("lang") or request.accept_languages.best_match(list(TEXTS), "en")


def form_token() -> str:
    """What a form of this visitor's must bring along."""
    return str(session.setdefault("form_token", secrets.token_urlsafe(16)))


def check_form() -> None:
    """Refuse a form that another site sent."""
    if request.method != "POST":
        return
    given = request.form.get("form_token", "").encode()
    if not secrets.compare_digest(given, form_token().encode()):
        abort(400)


def protect(response: Response) -> Response:
    """Tell the browser that nothing comes from elsewhere."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response

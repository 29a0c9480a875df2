"""A Flask application that shows the framework: four use cases, each on a page of its own."""

import secrets
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, abort, g, request, session, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the application; settings come from variables such as ``DEMO_SECRET_KEY``, then from ``config``."""
    from demo import contact, failed, lookup, pages, report, schedule, shop
    from framework.web.flask import TaskProgress

    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=secrets.token_hex(),
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=64 * 1024,
        REPORT_ROWS=200_000,
        REPORT_ROUNDS=9_000,
        PROXIES=0,
    )
    app.config.from_prefixed_env("DEMO")
    app.config.update(config or {})
    if app.config["PROXIES"]:
        # Behind a proxy every visitor has the proxy's address, unless the header of the proxy is trusted.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=app.config["PROXIES"], x_proto=app.config["PROXIES"])  # type: ignore[method-assign]
    shop.fill()
    TaskProgress(app)
    for page in (pages, contact, lookup, report, schedule, failed):
        app.register_blueprint(page.blueprint)
    app.before_request(choose_language)
    app.before_request(check_form)
    app.after_request(set_security_headers)
    app.context_processor(template_context)
    app.register_error_handler(HTTPException, pages.error_page)
    return app


def choose_language() -> None:
    """Use the language that the visitor chose, or else the browser's."""
    from demo.texts import TEXTS

    if request.args.get("lang") in TEXTS:
        session["lang"] = request.args["lang"]
    g.lang = session.get("lang") or request.accept_languages.best_match(list(TEXTS), "en")
    g.texts = TEXTS[g.lang]


def template_context() -> dict[str, Any]:
    """Return the variables and functions of every template."""
    from demo.formats import local_time, whole_number

    functions = {"local_time": local_time, "whole_number": whole_number, "in_language": in_language}
    return {"t": g.texts, "lang": g.lang, "form_token": form_token(), **functions}


def in_language(lang: str) -> str:
    """Return the URL of this page in another language."""
    return url_for(request.endpoint or "pages.home", **{**(request.view_args or {}), "lang": lang})


def form_token() -> str:
    """Return the token that every form of this visitor must contain."""
    return str(session.setdefault("form_token", secrets.token_urlsafe(16)))


def check_form() -> None:
    """Refuse a form that another site sent (CSRF)."""
    if request.method == "POST":
        given = request.form.get("form_token", "").encode()
        if not secrets.compare_digest(given, form_token().encode()):
            abort(400)


def set_security_headers(response: Response) -> Response:
    """Set the headers that keep the browser from loading anything from another site."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response

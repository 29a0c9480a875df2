"""The extension for Flask: ``TaskProgress(app)``, then ``{{ task_progress(result.id) }}`` in a template.

=================================  ====================================================  =============
setting                            meaning                                               default
=================================  ====================================================  =============
``TASK_PROGRESS_URL_PREFIX``       prefix of its addresses                               ``/tasks``
``TASK_PROGRESS_TOKEN_EXPIRES``    seconds that an address is valid                      ``86400``
``TASK_PROGRESS_ORIGINS``          other sites whose pages may open sockets, such as     none
                                   ``https://www.example.com``
``TASK_PROGRESS_MAX_SOCKETS``      sockets in one process; further pages poll            ``1000``
``TASK_PROGRESS_VISITOR_SOCKETS``  sockets of one visitor in one process                 ``50``
=================================  ====================================================  =============

``SECRET_KEY`` signs the addresses; ``SECRET_KEY_FALLBACKS`` are accepted too.
"""

import secrets
from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from typing import Any

from kombu.exceptions import OperationalError
from markupsafe import Markup

from framework.errors import BadTaskToken, ExpiredTaskToken, MissingExtra, NoSocket
from framework.web.core import (
    MAX_SOCKETS,
    MAX_SOCKETS_PER_VISITOR,
    RETRY_AFTER_SECONDS,
    SCRIPT,
    LiveStates,
    SocketShares,
    as_json,
    may_come_from,
    public_view,
)
from framework.web.sockets import Handshake, SocketServer
from framework.web.tokens import DAY_SECONDS, Tokens

try:
    from flask import Blueprint, Flask, Response, current_app, request, send_file, session, url_for
except ImportError as missing:
    raise MissingExtra.named("flask", "web") from missing

__all__ = ["TaskProgress", "visitor_of_session"]

NAME, SOCKETS = "task_progress", "task_progress_sockets"


def visitor_of_session() -> str:
    """Return a random id for this visitor, stored in Flask's session."""
    if "task_visitor" not in session:
        session["task_visitor"] = secrets.token_urlsafe(16)
    return str(session["task_visitor"])


class TaskProgress:
    """Serves the progress of tasks to the visitors who started them.

    Args:
        app: the Flask application, or None and `init_app` later.
        visitor: returns the visitor's id, such as a user's, in a request; with None, the visitor may watch no task.
        celery: the Celery application; the framework's own where none is given.
    """

    def __init__(
        self, app: Flask | None = None, *, visitor: Callable[[], str | None] = visitor_of_session, celery: Any = None
    ) -> None:
        self._visitor = visitor
        self.live = LiveStates(celery)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the addresses, and ``task_progress``, ``task_progress_url`` and ``task_progress_script`` for templates.

        Raises:
            framework.errors.MissingSecret: ``SECRET_KEY`` is not set.
        """
        app.config.setdefault("TASK_PROGRESS_URL_PREFIX", "/tasks")
        app.config.setdefault("TASK_PROGRESS_TOKEN_EXPIRES", DAY_SECONDS)
        app.config.setdefault("TASK_PROGRESS_ORIGINS", ())
        app.config.setdefault("TASK_PROGRESS_MAX_SOCKETS", MAX_SOCKETS)
        app.config.setdefault("TASK_PROGRESS_VISITOR_SOCKETS", MAX_SOCKETS_PER_VISITOR)
        _tokens(app)
        app.extensions[NAME] = self
        shares = SocketShares(app.config["TASK_PROGRESS_MAX_SOCKETS"], app.config["TASK_PROGRESS_VISITOR_SOCKETS"])
        app.extensions[SOCKETS] = SocketServer(self.live, shares)
        app.register_blueprint(self._blueprint(), url_prefix=app.config["TASK_PROGRESS_URL_PREFIX"])
        app.jinja_env.globals.update(
            task_progress=self.element, task_progress_url=self.url, task_progress_script=self.script
        )

    def url(self, task_id: str) -> str:
        """Return the address at which this visitor may watch a task.

        Raises:
            framework.errors.BadTaskToken: this visitor has no id.
        """
        visitor = self._visitor()
        if visitor is None:
            raise BadTaskToken.here()
        return url_for(f"{NAME}.state", token=_tokens().make(task_id, visitor))

    def element(self, task_id: str, **attributes: str) -> Markup:
        """Return the element that displays a task to this visitor; ``attributes`` are HTML's."""
        pairs = {"src": self.url(task_id), **attributes}.items()
        return Markup("<task-progress{}></task-progress>").format(
            Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in pairs)
        )

    def script(self) -> Markup:
        """Return the script tag that a page with the element needs once."""
        address = url_for(f"{NAME}.script", v=self._version)
        return Markup('<script type="module" src="{}"></script>').format(address)

    @cached_property
    def _version(self) -> str:
        return sha256(SCRIPT.read_bytes()).hexdigest()[:12]

    def _blueprint(self) -> Blueprint:
        blueprint = Blueprint(NAME, __name__)
        blueprint.add_url_rule("/task-progress.js", "script", _send_script)
        blueprint.add_url_rule("/<token>", "state", self._state)
        blueprint.add_url_rule("/<token>/live", "live", self._socket, websocket=True)
        blueprint.add_url_rule("/<token>/live", "no_socket", _not_a_socket)
        blueprint.register_error_handler(BadTaskToken, lambda exc: _refusal(403, exc))
        blueprint.register_error_handler(ExpiredTaskToken, lambda exc: _refusal(410, exc))
        return blueprint

    def _state(self, token: str) -> Response:
        """Return the last state as JSON; 404 where none is stored."""
        task_id = _tokens().task_id(token, self._visitor())
        try:
            state = self.live.last(task_id)
        except OperationalError:
            return _json(503, {"error": "The broker does not answer."}, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        return _json(200 if state else 404, public_view(state))

    def _socket(self, token: str) -> Response:
        """Open a WebSocket that sends each state as JSON, up to the final one."""
        if not may_come_from(request.origin, request.host, current_app.config["TASK_PROGRESS_ORIGINS"]):
            raise BadTaskToken.here()
        visitor = self._visitor()
        task_id = _tokens().task_id(token, visitor)
        try:
            pipe_end = current_app.extensions[SOCKETS].adopt(Handshake(request.environ), task_id, str(visitor))
        except NoSocket as exc:
            return _refusal(exc.status, exc)
        # The server writes this response into a pipe that is not read; the status is for its log.
        response = Response(status=101, headers={"Connection": "close"})
        response.call_on_close(pipe_end.close)
        return response


def _tokens(app: Flask | None = None) -> Tokens:
    config = (app or current_app).config
    keys = [*(config.get("SECRET_KEY_FALLBACKS") or ()), config.get("SECRET_KEY") or ""]
    return Tokens(keys, config["TASK_PROGRESS_TOKEN_EXPIRES"])


def _not_a_socket(token: str) -> Response:  # noqa: ARG001 - a variable of the route
    return _json(426, {"error": "This is the address of a WebSocket."}, {"Upgrade": "websocket"})


def _send_script() -> Response:
    response = send_file(
        SCRIPT, mimetype="text/javascript", max_age=DAY_SECONDS * 365 if request.args.get("v") else None
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _refusal(status: int, cause: Any) -> Response:
    return _json(status, {"error": cause.message})


def _json(status: int, fields: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    always = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return Response(as_json(fields), status, {**always, **(headers or {})}, "application/json")

"""The public view of a state, the origin check of sockets, and the Flask extension without a broker."""

import json
import math
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from flask import Flask, render_template_string
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.exceptions import OperationalError

from framework.celery.app import App
from framework.errors import BadTaskToken, BrokerAway, MissingSecret
from framework.progress import Progress, State, Step
from framework.web import core
from framework.web.core import LatestState, LiveStates, as_json, may_come_from, public_view
from framework.web.flask import TaskProgress

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)
@given(ANYTHING)
def test_browsers_can_read_every_result(value):
    text = as_json({"result": value})

    assert list(json.loads(text, parse_constant=pytest.fail)) == ["result"]


@settings(deadline=None)
@given(ANYTHING.filter(lambda value: "nan" not in repr(value) and "inf" not in repr(value)))
def test_a_value_that_json_has_is_not_changed(value):
    assert json.loads(as_json(value)) == value


def test_the_public_view_contains_neither_task_name_nor_id():
    steps = (Step("reading", 3, math.inf, "soon", 1.5, 2.0),)
    fields = public_view(State("an-id", "shop.tasks.secret", "progress", 7, 5.0, progress=Progress(steps)))

    assert "an-id" not in repr(fields)
    assert "shop" not in repr(fields)
    assert fields["progress"]["steps"][0]["message"] == "soon"


def test_the_latest_of_several_states_is_taken_and_each_notifies():
    notifications = []
    latest = LatestState(lambda: notifications.append(1))

    latest.put("first")
    latest.put("second")

    assert (latest.take(), latest.take()) == ("second", None)
    assert notifications == [1, 1]


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://shop.example", "shop.example", True),
        ("http://shop.example", "shop.example", True),  # TLS may end at a proxy
        ("https://SHOP.example", "shop.Example", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        (None, "shop.example", True),
        ("https://friends.example", "shop.example", True),
        ("https://shop.example:8443", "shop.example", False),
        ("https://evil.example", "shop.example", False),
        ("https://shop.example.evil.example", "shop.example", False),
        ("https://evilshop.example", "shop.example", False),
        ("https://user@shop.example", "shop.example", False),
        ("null", "shop.example", False),
        ("null", "", False),
        ("", "", False),
        ("http://[broken", "shop.example", False),
    ],
)
def test_only_pages_of_this_site_and_of_allowed_origins_open_sockets(origin, host, allowed):
    assert may_come_from(origin, host, ["https://friends.example"]) is allowed


@pytest.fixture
def app():
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "not a secret, this is a test"
    return app


def test_the_element_and_the_script_are_rendered_in_a_template(app):
    TaskProgress(app)

    with app.test_request_context():
        page = render_template_string(
            "{{ task_progress_script() }}{{ task_progress('an-id', label='<Your> \"report\"', class='wide') }}"
        )

    assert page.startswith('<script type="module" src="/tasks/task-progress.js?v=')
    assert '<task-progress src="/tasks/' in page
    assert 'label="&lt;Your&gt; &#34;report&#34;" class="wide"></task-progress>' in page


def test_the_addresses_begin_with_the_configured_prefix(app):
    app.config["TASK_PROGRESS_URL_PREFIX"] = "/api/progress"
    progress = TaskProgress()
    progress.init_app(app)

    with app.test_request_context():
        assert progress.url("an-id").startswith("/api/progress/")
    with app.test_client().get("/api/progress/task-progress.js") as script:
        assert script.status_code == 200
    assert app.extensions["task_progress"] is progress


def test_a_visitor_without_an_id_has_no_address_and_gets_403(app):
    progress = TaskProgress(app, visitor=lambda: None)

    with app.test_request_context(), pytest.raises(BadTaskToken):
        progress.url("an-id")
    assert app.test_client().get("/tasks/anything").status_code == 403


def test_a_visitor_keeps_an_id_that_no_other_visitor_has(app):
    progress = TaskProgress(app)
    app.add_url_rule("/url", view_func=lambda: progress.url("an-id"), endpoint="url")
    ann, ben = app.test_client(), app.test_client()
    hers = ann.get("/url").text
    ben.get("/url")

    assert ben.get(hers).status_code == 403
    assert ann.get(hers + "x").status_code == 403


def test_without_a_secret_the_application_does_not_start():
    with pytest.raises(MissingSecret, match="SECRET_KEY"):
        TaskProgress(Flask(__name__))


def test_a_server_without_access_to_its_connections_gets_503_and_the_page_polls(app):
    progress = TaskProgress(app)
    app.add_url_rule("/url", view_func=lambda: progress.url("an-id"), endpoint="url")
    ann = app.test_client()
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }

    response = ann.get(f"{ann.get('/url').text}/live", headers=upgrade)

    assert response.status_code == 503
    assert "every few seconds" in response.json["error"]


def test_a_broker_that_hangs_blocks_one_thread_and_not_the_site(monkeypatch):
    monkeypatch.setattr(core, "RETRY_AFTER_SECONDS", 3600)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        app = App("caller", broker=f"amqp://127.0.0.1:{silent.getsockname()[1]}//", set_as_current=False)
        app.conf.task_publish_timeout = 3.0
        live = LiveStates(app)
        with pytest.raises(OperationalError):
            live.last("task")
        silent.setblocking(False)
        assert connections(silent) > 0

        with ThreadPoolExecutor(8) as pool:
            refusals = [each.exception() for each in [pool.submit(live.last, "task") for _ in range(50)]]

        assert all(isinstance(refusal, BrokerAway) for refusal in refusals)
        assert connections(silent) == 0


def connections(server):
    """Return how many clients have connected since the last call."""
    number = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            number += 1
    return number


def test_a_broker_that_is_back_is_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr(core, "RETRY_AFTER_SECONDS", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        app = App("caller", broker=f"amqp://127.0.0.1:{taken.getsockname()[1]}//", set_as_current=False)
        live = LiveStates(app)
        with pytest.raises(OperationalError):
            live.last("task")

    live._app = App("caller", broker=f"sqlite:///{tmp_path}/broker.db", set_as_current=False)

    assert live.last("task") is None
    assert live.last("task") is None

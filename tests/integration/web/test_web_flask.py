"""The states of tasks over HTTP and WebSockets, from the Flask extension behind gunicorn."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

WAIT = 60

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def queued(eventually):
    """Call a task that no worker runs; return the address of its state once it is stored."""

    def call(visitor):
        url = visitor.call("report", 10)["url"]
        eventually(lambda: visitor.request(url)[0] == 200)
        return url

    return call


def received(connection):
    """The states that a socket sends, up to its end."""
    return [json.loads(text) for text in connection]


def receive_until_closed(connection):
    while True:
        connection.recv(WAIT)


def first_known(connection):
    """The status of the first state; before it, a socket may send that there is none."""
    while (status := json.loads(connection.recv(WAIT))["status"]) == "unknown":
        pass
    return status


def half_done(state):
    return state["status"] == "progress" and state["progress"]["steps"][0]["done"] == 50


def test_a_socket_sends_the_states_of_a_task_up_to_the_final_one(start_worker, serve_site, visitor, go):
    start_worker()
    ann = visitor(serve_site())
    sent = ann.call("report", 100)

    with ann.watch(sent["url"]) as socket:
        states = [json.loads(socket.recv(WAIT))]
        while not half_done(states[-1]):
            states.append(json.loads(socket.recv(WAIT)))
        go()
        states += received(socket)

    assert states[-1]["status"] == "success"
    assert states[-1]["result"] == {"rows": 100}
    numbers = [state["number"] for state in states if state["status"] != "unknown"]
    assert numbers == sorted(numbers)
    assert ann.get(sent["url"])[1]["result"] == {"rows": 100}


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_each_server_process_sends_the_final_state_on_rabbitmq(start_worker, serve_site, visitor, go):
    start_worker()
    ann = visitor(serve_site(processes=2))
    sent = ann.call("report", 100)

    sockets = [ann.watch(sent["url"]) for _ in range(8)]
    go()
    ends = [received(socket)[-1] for socket in sockets]

    assert [end["result"] for end in ends] == [{"rows": 100}] * 8


def test_a_visitor_receives_the_public_view_of_a_state(start_worker, serve_site, visitor):
    start_worker()
    ann = visitor(serve_site())
    sent = ann.call("broken")
    with ann.watch(sent["url"]) as socket:
        last = received(socket)[-1]

    status, headers, body = ann.request(sent["url"])

    assert status == 200
    assert json.loads(body) | {"now": 0} == last | {"now": 0}
    assert last["error"] == "The file has no rows. <b>Choose</b> another one."
    assert set(last) == {
        *("status", "number", "at", "attempt", "progress", "retry_at", "result", "error", "final", "now"),
    }
    assert "Traceback" not in body
    assert "probe" not in body
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "application/json"


def test_numbers_that_json_does_not_have_are_sent_as_null(start_worker, serve_site, visitor, go, noted, eventually):
    start_worker()
    ann = visitor(serve_site())
    sent = ann.call("endless_numbers")

    with ann.watch(sent["url"]) as socket:
        eventually(lambda: noted("half"))
        go()
        texts = list(socket)

    assert not [text for text in texts if "NaN" in text or "Infinity" in text]
    assert json.loads(texts[-1])["result"] is None


def test_a_task_without_a_state_is_unknown(serve_site, visitor):
    ann = visitor(serve_site())
    url = ann.get("/url/never-called")[1]["url"]

    status, state = ann.get(url)
    with ann.watch(url) as socket:
        first = json.loads(socket.recv(WAIT))

    assert (status, state["status"]) == (404, "unknown")
    assert first["status"] == "unknown"


@pytest.mark.parametrize("of_a_task", [True, False], ids=["a task there is", "a task there is not"])
def test_another_visitor_gets_403_and_no_information(serve_site, visitor, of_a_task):
    site = serve_site()
    ann, ben, anonymous = visitor(site), visitor(site), visitor(site)
    url = ann.call("report", 10)["url"] if of_a_task else ann.get("/url/nothing")[1]["url"]
    ben.get("/url/his-own")

    refusals = [ben.request(url), anonymous.request(url), ben.request("/tasks/x"), ben.request(url + "x")]

    assert [status for status, _, _ in refusals] == [403] * 4
    assert len({body for _, _, body in refusals}) == 1
    for refused in (ben, anonymous):
        with pytest.raises(InvalidStatus, match="403"):
            refused.watch(url)


def test_an_expired_address_gets_410(serve_site, visitor, eventually):
    site = serve_site(SITE_TASK_PROGRESS_TOKEN_EXPIRES="1")
    ann, ben = visitor(site), visitor(site)
    url = ann.call("report", 10)["url"]
    ben.get("/url/his-own")

    eventually(lambda: ann.request(url)[0] == 410)
    assert ben.request(url)[0] == 403
    with pytest.raises(InvalidStatus, match="410"):
        ann.watch(url)


def test_pages_of_other_sites_cannot_open_a_socket(serve_site, visitor, queued):
    ann = visitor(serve_site(SITE_TASK_PROGRESS_ORIGINS='["https://friends.example"]'))
    url = queued(ann)

    with pytest.raises(InvalidStatus, match="403"):
        ann.watch(url, origin="https://evil.example")
    with pytest.raises(InvalidStatus, match="403"):
        ann.watch(url, origin="null")
    with ann.watch(url, origin="https://friends.example") as socket:
        assert first_known(socket) == "queued"


def test_a_site_with_more_sockets_than_threads_responds(serve_site, visitor, queued):
    ann = visitor(serve_site(processes=1, threads=2))
    url = queued(ann)

    with ThreadPoolExecutor(8) as pool:
        sockets = list(pool.map(lambda _: ann.watch(url), range(40)))
    firsts = [first_known(socket) for socket in sockets]

    assert firsts == ["queued"] * 40
    assert ann.get(url)[0] == 200


def test_a_socket_above_the_maximum_gets_503_until_another_is_closed(serve_site, visitor, queued):
    ann = visitor(serve_site(processes=1, SITE_TASK_PROGRESS_MAX_SOCKETS="2"))
    url = queued(ann)
    first, second = ann.watch(url), ann.watch(url)

    with pytest.raises(InvalidStatus, match="503"):
        ann.watch(url)
    assert ann.get(url)[0] == 200
    first.close()
    with second, eventually_opened(lambda: ann.watch(url)) as third:
        assert first_known(third) == "queued"


def eventually_opened(open_socket):
    """Open a socket once the number of open ones allows it."""
    end = time.monotonic() + WAIT
    while True:
        try:
            return open_socket()
        except InvalidStatus:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_socket_on_which_the_visitor_sends_a_message_is_closed(serve_site, visitor):
    ann = visitor(serve_site())
    url = ann.call("report", 10)["url"]

    with ann.watch(url) as socket:
        socket.recv(WAIT)
        socket.send("hello?")
        with pytest.raises(ConnectionClosedError, match="1008"):
            receive_until_closed(socket)
    with ann.watch(url) as socket:
        socket.recv(WAIT)
        assert socket.ping().wait(WAIT)


def test_a_request_that_is_not_a_websocket_gets_an_error(serve_site, visitor):
    ann = visitor(serve_site())
    url = ann.call("report", 10)["url"]

    assert ann.request(f"{url}/live")[0] == 426
    assert upgraded(ann, f"{url}/live") == 400
    assert ann.request(url, data={})[0] == 405


def upgraded(visitor, path):
    """The status of an upgrade request without the headers of a WebSocket."""
    connection = HTTPConnection(urlsplit(visitor.site).netloc, timeout=WAIT)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Cookie": visitor.cookie}
    with closing(connection):
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status


def test_a_socket_stays_open_across_a_restart_of_the_worker(start_worker, serve_site, visitor, go, noted, eventually):
    worker = start_worker()
    ann = visitor(serve_site())
    sent = ann.call("report", 100)

    with ann.watch(sent["url"]) as socket:
        eventually(lambda: noted("half"))
        worker.kill()
        go()
        start_worker()
        states = received(socket)

    assert states[-1]["result"] == {"rows": 100}


def test_a_server_that_ends_closes_its_sockets_without_waiting(serve_site, visitor):
    server = serve_site(GUNICORN_CMD_ARGS="--graceful-timeout=3600")
    ann = visitor(server)
    sockets = [ann.watch(ann.call("report", 10)["url"]) for _ in range(4)]

    server.stop()  # waits less long than gunicorn would for its requests

    for socket in sockets:
        with pytest.raises(ConnectionClosed):
            receive_until_closed(socket)


@pytest.mark.parametrize("command", ["flask", "preloaded", "sync"])
def test_other_servers(start_worker, serve, visitor, go, command):
    commands = {
        "flask": ["flask", "--app", "site_app:create_app()", "run", "--port", "{port}"],
        "preloaded": ["gunicorn", "--preload", "--threads", "2", "-b", "127.0.0.1:{port}", "site_app:create_app()"],
        "sync": ["gunicorn", "-b", "127.0.0.1:{port}", "site_app:create_app()"],
    }
    start_worker()
    go()
    ann = visitor(serve(*commands[command]))
    sent = ann.call("report", 20)

    with ann.watch(sent["url"]) as socket:
        assert received(socket)[-1]["result"] == {"rows": 20}
    assert ann.get(sent["url"])[0] == 200


def test_a_broker_that_is_away_is_503_and_a_socket_stays_open(serve_site, visitor, environment, project):
    ann = visitor(serve_site(CELERY_BROKER_URL="amqp://guest:guest@127.0.0.1:9//"))
    url = ann.get("/url/some-task")[1]["url"]

    status, headers, body = ann.request(url)
    with ann.watch(url) as socket:
        first = json.loads(socket.recv(WAIT))

    assert status == 503
    assert headers["Retry-After"] == "5"
    assert "9" not in body
    assert first["status"] == "unknown"


def test_the_browser_may_cache_the_script(serve_site, visitor):
    ann = visitor(serve_site())
    _, _, page = ann.request("/page/some-task")
    address = page.split('type="module" src="')[2].split('"')[0]  # the page's own script is the first

    status, headers, body = ann.request(address)

    assert status == 200
    assert "max-age=31536000" in headers["Cache-Control"]
    assert headers["Content-Type"].startswith("text/javascript")
    assert "customElements.define" in body

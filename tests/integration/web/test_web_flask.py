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


def told(connection):
    """What a socket tells, to its end."""
    return [json.loads(text) for text in connection]


def to_its_end(connection):
    while True:
        connection.recv(WAIT)


def half_done(state):
    return state["status"] == "progress" and state["progress"]["steps"][0]["done"] == 50


def test_a_socket_tells_of_a_task_to_its_end(start_worker, serve_site, visitor, go):
    start_worker()
    ann = visitor(serve_site())
    sent = ann.call("report", 100)

    with ann.watch(sent["url"]) as socket:
        states = [json.loads(socket.recv(WAIT))]
        while not half_done(states[-1]):
            states.append(json.loads(socket.recv(WAIT)))
        go()
        states += told(socket)

    assert states[-1]["status"] == "success"
    assert states[-1]["result"] == {"rows": 100}
    assert [state["number"] for state in states] == sorted(state["number"] for state in states)
    assert ann.get(sent["url"])[1]["result"] == {"rows": 100}


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_so_it_does_on_rabbitmq_whichever_process_answers(start_worker, serve_site, visitor, go):
    start_worker()
    ann = visitor(serve_site(processes=2))
    sent = ann.call("report", 100)

    sockets = [ann.watch(sent["url"]) for _ in range(8)]
    go()
    ends = [told(socket)[-1] for socket in sockets]

    assert [end["result"] for end in ends] == [{"rows": 100}] * 8


def test_what_is_shown_is_fit_for_a_visitor(start_worker, serve_site, visitor):
    start_worker()
    ann = visitor(serve_site())
    sent = ann.call("broken")
    with ann.watch(sent["url"]) as socket:
        last = told(socket)[-1]

    status, headers, body = ann.ask(sent["url"])

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


def test_numbers_that_json_does_not_have_are_left_out(start_worker, serve_site, visitor, go, noted, eventually):
    start_worker()
    ann = visitor(serve_site())
    sent = ann.call("endless_numbers")

    with ann.watch(sent["url"]) as socket:
        eventually(lambda: noted("half"))
        go()
        texts = list(socket)

    assert not [text for text in texts if "NaN" in text or "Infinity" in text]
    assert json.loads(texts[-1])["result"] is None


def test_of_a_task_that_nothing_is_known_of_it_says_so(serve_site, visitor):
    ann = visitor(serve_site())
    url = ann.get("/url/never-called")[1]["url"]

    status, state = ann.get(url)
    with ann.watch(url) as socket:
        first = json.loads(socket.recv(WAIT))

    assert (status, state["status"]) == (404, "unknown")
    assert first["status"] == "unknown"


@pytest.mark.parametrize("of_a_task", [True, False], ids=["a task there is", "a task there is not"])
def test_another_visitor_gets_403_and_learns_nothing(serve_site, visitor, of_a_task):
    site = serve_site()
    ann, ben, nobody = visitor(site), visitor(site), visitor(site)
    url = ann.call("report", 10)["url"] if of_a_task else ann.get("/url/nothing")[1]["url"]
    ben.get("/url/his-own")

    refusals = [ben.ask(url), nobody.ask(url), ben.ask("/tasks/x"), ben.ask(url + "x")]

    assert [status for status, _, _ in refusals] == [403] * 4
    assert len({body for _, _, body in refusals}) == 1
    for refused in (ben, nobody):
        with pytest.raises(InvalidStatus, match="403"):
            refused.watch(url)


def test_an_address_that_was_good_gets_410(serve_site, visitor):
    site = serve_site(SITE_TASK_PROGRESS_TOKEN_EXPIRES="1")
    ann, ben = visitor(site), visitor(site)
    url = ann.call("report", 10)["url"]
    ben.get("/url/his-own")
    time.sleep(2.1)

    assert ann.ask(url)[0] == 410
    assert ben.ask(url)[0] == 403
    with pytest.raises(InvalidStatus, match="410"):
        ann.watch(url)


def test_pages_of_other_sites_open_no_socket(serve_site, visitor):
    ann = visitor(serve_site(SITE_TASK_PROGRESS_ORIGINS='["https://friends.example"]'))
    url = ann.call("report", 10)["url"]

    with pytest.raises(InvalidStatus, match="403"):
        ann.watch(url, origin="https://evil.example")
    with pytest.raises(InvalidStatus, match="403"):
        ann.watch(url, origin="null")
    with ann.watch(url, origin="https://friends.example") as socket:
        assert json.loads(socket.recv(WAIT))["status"] == "queued"


def test_more_sockets_than_threads_leave_the_site_as_quick_as_before(serve_site, visitor):
    ann = visitor(serve_site(processes=1, threads=2))
    url = ann.call("report", 10)["url"]

    with ThreadPoolExecutor(8) as pool:
        sockets = list(pool.map(lambda _: ann.watch(url), range(40)))
    firsts = [json.loads(socket.recv(WAIT))["status"] for socket in sockets]

    assert firsts == ["queued"] * 40
    assert ann.get(url)[0] == 200


def test_where_there_are_enough_sockets_the_next_one_is_told_to_ask(serve_site, visitor):
    ann = visitor(serve_site(processes=1, SITE_TASK_PROGRESS_MAX_SOCKETS="2"))
    url = ann.call("report", 10)["url"]
    first, second = ann.watch(url), ann.watch(url)

    with pytest.raises(InvalidStatus, match="503"):
        ann.watch(url)
    assert ann.get(url)[0] == 200
    first.close()
    with second, eventually_opened(lambda: ann.watch(url)) as third:
        assert json.loads(third.recv(WAIT))["status"] == "queued"


def eventually_opened(open_socket):
    """A socket, once there is room for it."""
    end = time.monotonic() + WAIT
    while True:
        try:
            return open_socket()
        except InvalidStatus:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_who_talks_on_a_socket_is_hung_up_on(serve_site, visitor):
    ann = visitor(serve_site())
    url = ann.call("report", 10)["url"]

    with ann.watch(url) as socket:
        socket.recv(WAIT)
        socket.send("hello?")
        with pytest.raises(ConnectionClosedError, match="1008"):
            socket.recv(WAIT)
    with ann.watch(url) as socket:
        socket.recv(WAIT)
        socket.ping().wait(WAIT)


def test_what_is_no_socket_is_told_so(serve_site, visitor):
    ann = visitor(serve_site())
    url = ann.call("report", 10)["url"]

    assert ann.ask(f"{url}/live")[0] == 426
    assert upgraded(ann, f"{url}/live") == 400
    assert ann.ask(url, data={})[0] == 405


def upgraded(someone, path):
    """The status of an upgrade that says nothing of what a WebSocket has to say."""
    connection = HTTPConnection(urlsplit(someone.site).netloc, timeout=WAIT)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Cookie": someone.cookie}
    with closing(connection):
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status


def test_a_socket_outlives_a_restart_of_the_worker(start_worker, serve_site, visitor, go, noted, eventually):
    worker = start_worker()
    ann = visitor(serve_site())
    sent = ann.call("report", 100)

    with ann.watch(sent["url"]) as socket:
        eventually(lambda: noted("half"))
        worker.kill()
        go()
        start_worker()
        states = told(socket)

    assert states[-1]["result"] == {"rows": 100}


def test_a_server_that_ends_cuts_its_sockets_and_does_not_wait_for_them(serve_site, visitor):
    server = serve_site()
    ann = visitor(server)
    sockets = [ann.watch(ann.call("report", 10)["url"]) for _ in range(4)]

    began = time.monotonic()
    server.stop()

    assert time.monotonic() - began < 10
    for socket in sockets:
        with pytest.raises(ConnectionClosed):
            to_its_end(socket)


@pytest.mark.parametrize("command", ["flask", "preloaded", "sync"])
def test_other_ways_to_serve(start_worker, serve, visitor, go, command):
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
        assert told(socket)[-1]["result"] == {"rows": 20}
    assert ann.get(sent["url"])[0] == 200


def test_a_broker_that_is_away_is_503_and_a_socket_waits_for_it(serve_site, visitor, environment, project):
    ann = visitor(serve_site(CELERY_BROKER_URL="amqp://guest:guest@127.0.0.1:9//"))
    url = ann.get("/url/some-task")[1]["url"]

    status, headers, body = ann.ask(url)
    with ann.watch(url) as socket:
        first = json.loads(socket.recv(WAIT))

    assert status == 503
    assert headers["Retry-After"] == "5"
    assert "9" not in body
    assert first["status"] == "unknown"


def test_the_script_may_be_kept_by_the_browser(serve_site, visitor):
    ann = visitor(serve_site())
    _, _, page = ann.ask("/page/some-task")
    address = page.split('type="module" src="')[1].split('"')[0]

    status, headers, body = ann.ask(address)

    assert status == 200
    assert "max-age=31536000" in headers["Cache-Control"]
    assert headers["Content-Type"].startswith("text/javascript")
    assert "customElements.define" in body

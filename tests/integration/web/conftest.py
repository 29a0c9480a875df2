"""A site with tasks to watch, behind real servers, and a real browser."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from framework.errors import BrowserMissing
from framework.testing.browser import open_browser
from framework.testing.rabbitmq import free_ports

WAIT = 60

MORE_TASKS = '''

from framework.errors import FrameworkError
from framework.progress import progress

@celery.task(track=True)
def report(rows):
    """Run the first half; the second once the test creates a file."""
    for number in progress(range(rows), "Reading"):
        if number == rows // 2:
            note("half", number)
            while not (HERE / "go").exists():
                time.sleep(0.01)
    return {"rows": rows}

@celery.task(track=True)
def broken():
    raise FrameworkError("The file has no rows. <b>Choose</b> another one.")

@celery.task(bind=True, track=True, max_retries=1)
def busy(self):
    if self.request.retries < 1:
        raise self.retry(countdown=20, exc=FrameworkError("The other side is busy."))
    return "at last"

@celery.task
def counting():
    for number in progress(iter(lambda: (HERE / "go").exists(), True), "Counting"):
        for _ in progress(range(10), "inner"):
            note("counting", number)
            time.sleep(0.05)

@celery.task
def endless_numbers():
    with progress(total=float("inf"), name="endless") as step:
        step.advance(1)
        note("half", 1)
        while not (HERE / "go").exists():
            time.sleep(0.01)
    return float("nan")
'''

SITE = '''
from flask import Flask, jsonify, render_template_string, request, session
from framework.celery.celery import celery
from framework.web.flask import TaskProgress

PAGE = """<!doctype html>
<html lang="{{ lang }}"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Report</title>
<link rel="stylesheet" href="/static/site.css">
<script type="module" src="/static/site.js"></script>
{{ task_progress_script() }}
<main><h1>Report</h1>
<task-progress {{ attributes|safe }} src="{{ progress.url(id) }}"><p slot="done" id="done">Download</p></task-progress>
</main></html>"""

progress = TaskProgress(celery=celery)

def create_app(**config):
    app = Flask(__name__, static_folder="files", static_url_path="/static")
    app.config.update({"SECRET_KEY": "not a secret, this is a test", **config})
    app.config.from_prefixed_env("SITE")
    progress.init_app(app)

    @app.post("/call/<name>")
    def call(name):
        sent = celery.send_task(f"probe.tasks.any-name.{name}", request.get_json())
        return jsonify(id=sent.id, url=progress.url(sent.id))

    @app.get("/url/<id>")
    def url(id):
        return jsonify(url=progress.url(id))

    @app.get("/page/<id>")
    def page(id):
        lang = request.args.get("lang", "en")
        return render_template_string(
            PAGE, id=id, progress=progress, lang=lang, attributes=request.args.get("attributes", "")
        )

    @app.after_request
    def policy(response):
        own = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
        response.headers["Content-Security-Policy"] = own
        return response

    return app
'''

EVENTS_SCRIPT = """
window.events = [];
window.broken = [];
window.addEventListener("securitypolicyviolation", (event) => window.broken.push(event.violatedDirective));
window.addEventListener("error", (event) => window.broken.push(event.message));
for (const name of ["update", "done", "failed", "refused"])
  document.addEventListener(`task-progress:${name}`, (event) => window.events.push([name, event.detail]));
const Real = window.WebSocket;
"""


@pytest.fixture
def broker(request):
    """The embedded broker, unless a test names another."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def project(project):
    tasks = project / "probe/tasks/any-name.py"
    tasks.write_text(tasks.read_text() + MORE_TASKS)
    (project / "site_app.py").write_text(SITE)
    (project / "files").mkdir()
    (project / "files/site.css").write_text("body { font: 18px sans-serif; margin: 2em; max-width: 40em }")
    (project / "files/site.js").write_text(EVENTS_SCRIPT)
    return project


@pytest.fixture
def go(project):
    """Create the file that the tasks wait for."""
    return (project / "go").touch


class Server:
    """The processes of a web server, which keeps its port when it is restarted."""

    def __init__(self, command, folder, environment, port):
        self.url = f"http://127.0.0.1:{port}"
        self._command, self._folder, self._environment, self._port = command, folder, environment, port
        self.start()

    def start(self):
        self._log = (self._folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=self._environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end = time.monotonic() + WAIT
        while True:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                time.sleep(0.05)

    @property
    def log(self):
        return (self._folder / "server.log").read_text()

    def kill(self):
        """Kill all its processes with SIGKILL; its sockets are cut without a closing handshake."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT)
        self._log.close()

    def stop(self):
        self.process.terminate()
        return self.process.wait(WAIT)


@pytest.fixture
def serve(project, environment):
    """Start a server; ``{port}`` in a command is replaced by its port."""
    servers = []

    def start(*command, folder=project, **more):
        [port] = free_ports(1)
        filled = [sys.executable, "-m", *(part.format(port=port) for part in command)]
        servers.append(Server(filled, folder, {**environment, "PYTHONUNBUFFERED": "1", **more}, port))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
        print(server.log)  # pytest shows it where a test fails


@pytest.fixture
def serve_site(serve):
    """Start the site behind gunicorn with a number of processes, and of threads in each."""

    def start(processes=2, threads=4, **more):
        options = ["--workers", str(processes), "--threads", str(threads), "--no-control-socket"]
        return serve("gunicorn", "--bind", "127.0.0.1:{port}", *options, "site_app:create_app()", **more)

    return start


class Visitor:
    """A client with cookies of its own."""

    def __init__(self, site):
        self.site = site
        self._sockets = []
        self._jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))

    def request(self, path, data=None, headers=()):
        """Send a request; return the status, the headers and the body of the response."""
        body = None if data is None else json.dumps(data).encode()
        message = urllib.request.Request(self.site + path, body, {"Content-Type": "application/json", **dict(headers)})
        try:
            with self._opener.open(message, timeout=WAIT) as response:
                return response.status, response.headers, response.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers, refusal.read().decode()

    def get(self, path):
        status, _, body = self.request(path)
        return status, json.loads(body)

    def call(self, name, *args):
        """Call a task; return its id and the address of its state."""
        status, _, body = self.request(f"/call/{name}", list(args))
        assert status == 200, body
        return json.loads(body)

    @property
    def cookie(self):
        return "; ".join(f"{each.name}={each.value}" for each in self._jar)

    def watch(self, path, origin=None, cookie=None):
        """Open a socket as a browser does."""
        address = f"ws://{urlsplit(self.site).netloc}{path}/live"
        headers = {"Cookie": self.cookie if cookie is None else cookie}
        limits = {"open_timeout": WAIT, "ping_timeout": WAIT}
        connection = connect(address, origin=origin or self.site, additional_headers=headers, proxy=None, **limits)
        self._sockets.append(connection.__enter__())
        return self._sockets[-1]

    def leave(self):
        for connection in self._sockets:
            connection.close()


@pytest.fixture
def visitor():
    """Make a visitor of a server."""
    visitors = []

    def make(server):
        visitors.append(Visitor(server.url))
        return visitors[-1]

    yield make
    for each in visitors:
        each.leave()


@pytest.fixture
def open_window(tmp_path_factory):
    """Open a browser with cookies of its own."""
    opened = []

    def start(**options):
        try:
            opened.append(open_browser(tmp_path_factory.mktemp("profile"), **options))
        except BrowserMissing as missing:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(missing.message)
        return opened[-1]

    yield start
    for each in opened:
        each.quit()

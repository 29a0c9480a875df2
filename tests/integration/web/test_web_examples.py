"""The guide's examples run unchanged: in Flask, in FastAPI and beside Django."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

WAIT = 60

EXAMPLES = Path(__file__).parents[3] / "docs/examples"
SECRET = "not a secret, this is a test"
COMMANDS = {
    "flask": ["gunicorn", "--threads", "4", "-b", "127.0.0.1:{port}", "flask_app:create_app()"],
    "fastapi": ["uvicorn", "--port", "{port}", "fastapi_app:app"],
    "django": ["uvicorn", "--port", "{port}", "django_app:app"],
}


@pytest.fixture
def project(tmp_path):
    return shutil.copytree(EXAMPLES, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture(params=COMMANDS)
def site(request, serve, environment):
    path = f"{environment['PYTHONPATH']}{os.pathsep}."
    return serve(*COMMANDS[request.param], SECRET_KEY=SECRET, PYTHONPATH=path)


def address_of(page):
    return re.search(r'<task-progress src="([^"]+)"', page)[1]


@pytest.mark.timeout(300)
def test_a_visitor_orders_a_report_and_watches_it(start_worker, site, visitor):
    ann, ben = visitor(site), visitor(site)

    status, _, page = ann.request("/reports", data={})
    address = address_of(page)
    with ann.watch(address) as socket:
        assert json.loads(socket.recv(WAIT))["status"] == "unknown"
        start_worker()  # now, since the report is written in two seconds
        states = [json.loads(text) for text in socket]
    _, headers, script = ann.request(re.search(r'src="([^"]+task-progress\.js[^"]*)"', page)[1])

    assert status == 200
    assert states[-1]["result"] == {"rows": 40}
    assert states[-1]["status"] == "success"
    assert any(state["status"] == "progress" for state in states)
    assert ann.get(address)[1] | {"now": 0} == states[-1] | {"now": 0}
    assert "customElements.define" in script
    assert headers["Content-Type"].startswith("text/javascript")
    refused(ben, address)
    ben.request("/reports", data={})
    refused(ben, address)
    refused(ann, address + "x")
    with pytest.raises(InvalidStatus, match="403"):
        ann.watch(address, origin="https://evil.example")


def refused(visitor, address):
    assert visitor.request(address)[0] == 403
    with pytest.raises(InvalidStatus, match="403"):
        visitor.watch(address)


def test_a_task_without_a_worker_is_unknown(site, visitor, project):
    ann = visitor(site)

    _, _, page = ann.request("/reports", data={})  # no worker runs
    address = address_of(page)
    with ann.watch(address) as socket:
        first = json.loads(socket.recv(WAIT))

    assert ann.get(address)[0] == 404
    assert first["status"] == "unknown"

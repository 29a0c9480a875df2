"""The image and the services of compose.yaml: their commands are run as written, without a container engine."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import httpx
import pytest
import yaml

from framework.testing.rabbitmq import free_ports
from framework.testing.rabbitmq_releases import RELEASES

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose.yaml"
SECRETS = {"RABBITMQ_PASSWORD": "s3cret-of-a-test", "DEMO_SECRET_KEY": "another-s3cret"}
WAIT = 180

pytestmark = pytest.mark.timeout(600)


def services():
    return yaml.safe_load(COMPOSE.read_text())["services"]


def filled_in(text):
    """Return a text with its variables replaced, as compose does."""
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: SECRETS[found[1]], text)
    return text.replace("$$", "$")


class Stack:
    """The services' commands as processes of this machine, with its host names and folders."""

    def __init__(self, folder, broker_url):
        web, mail, api = map(str, free_ports(3))
        self.web = f"http://127.0.0.1:{web}"
        self.mails = folder / "data" / "mails"
        self._folder = folder
        self._replacements = {
            f"amqp://shop:{SECRETS['RABBITMQ_PASSWORD']}@rabbitmq:5672//": broker_url,
            "http://external:8001": f"http://127.0.0.1:{api}",
            "0.0.0.0:8000": f"127.0.0.1:{web}",
            "127.0.0.1:8000": f"127.0.0.1:{web}",
            "/data": str(folder / "data"),
        }
        self._words = {"external": "127.0.0.1", "0.0.0.0": "127.0.0.1", "1025": mail}
        self._processes = []

    def start(self, name):
        with (self._folder / f"{name}.log").open("wb") as log:
            command = shlex.split(self._translated(services()[name]["command"]))
            started = subprocess.Popen(
                command, cwd=ROOT, env=self.environment(name), stdout=log, stderr=log, start_new_session=True
            )
        self._processes.append(started)

    def environment(self, name):
        declared = services()[name]["environment"]
        own = {key: self._translated(value) for key, value in declared.items()}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **own, "PATH": path, "HOSTNAME": socket.gethostname(), "PYTHONPATH": str(ROOT)}

    def is_healthy(self, name):
        test = re.sub(r"\b1025\b", self._words["1025"], self._translated(services()[name]["healthcheck"]["test"]))
        timeout = float(services()[name]["healthcheck"]["timeout"].removesuffix("s"))
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                ["/bin/sh", "-c", test],
                cwd=ROOT,
                env=self.environment(name),
                capture_output=True,
                timeout=timeout,
                check=False,
            )
            return done.returncode == 0
        return False

    def wait_until(self, condition):
        end = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < end, "\n".join(log.read_text() for log in self._folder.glob("*.log"))
            time.sleep(0.1)

    def _translated(self, text):
        text = filled_in(text)
        for name, replacement in self._replacements.items():
            text = text.replace(name, replacement)
        return self._words.get(text, text)

    def end(self):
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(WAIT)


@pytest.fixture
def stack(tmp_path, rabbitmq):
    running = Stack(tmp_path, rabbitmq.vhost())
    yield running
    running.end()


def test_compose_reads_the_file():
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout


def test_no_secret_is_in_the_file_and_the_example_names_each():
    text = COMPOSE.read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))

    assert required == SECRETS.keys()
    for name, service in services().items():
        for key, value in service["environment"].items():
            is_secret = re.search("PASS|SECRET|://.*@", f"{key}={value}")
            assert not is_secret or "${" in value, f"{name}: {key}"
    named = re.findall(r"^(\w+)=$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(named) == required


def test_every_service_has_a_health_check_and_is_restarted():
    for name, service in services().items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_the_broker_is_a_release_of_rabbitmq_that_the_tests_start():
    product, _, release = services()["rabbitmq"]["image"].partition(":")

    assert product == "rabbitmq"
    assert release == list(RELEASES)[-1]


def test_each_service_runs_as_written_and_is_healthy(stack):
    # When every command is started as written
    for name in ("external", "worker", "schedule", "web"):
        stack.start(name)

    # Then each is healthy by its own check
    for name in ("external", "web", "worker", "schedule"):
        stack.wait_until(lambda name=name: stack.is_healthy(name))

    # And the worker runs the tasks of the web server and of the schedule
    with httpx.Client(base_url=stack.web, timeout=WAIT) as visitor:
        token = re.search('form_token" value="([^"]+)', visitor.get("/contact").text)[1]
        form = {"sender": "ann@example.org", "subject": "Hours", "text": "Open?", "form_token": token}
        assert visitor.post("/contact", data=form).status_code == 303
        stack.wait_until(lambda: len(list(stack.mails.glob("[!.]*"))) == 1)
        stack.wait_until(lambda: "leads since" in visitor.get("/schedule?lang=en").text)
    stack.end()
    assert not any(stack.is_healthy(name) for name in ("external", "web", "worker", "schedule"))


def test_the_image_is_built_from_the_files_sent_to_the_engine_and_runs_the_services(tmp_path):
    # Given a folder with only the files that .dockerignore includes
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    for copied in (line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line):
        for name in copied:
            assert is_sent(name), name
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tmp_path / name, ignore=lambda _, names: {n for n in names if n == "data"})
            else:
                shutil.copy(source, tmp_path / name)

    # When the install steps are run as written, in folders of this test
    for step in (line.removeprefix("RUN ") for line in lines if line.startswith("RUN ") and "venv" in line):
        here = step.replace("/venv", f"{tmp_path}/venv").replace("/wheels", f"{tmp_path}/wheels")
        here = here.replace("python -m venv", f"{sys.executable} -m venv")
        subprocess.run(["/bin/sh", "-ec", here], cwd=tmp_path, check=True, capture_output=True)

    # Then the services' commands exist, and the application can be created
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CELERY", "VIRTUAL"))
    }
    environment |= {
        "PATH": f"{tmp_path}/venv/bin{os.pathsep}{os.environ['PATH']}",
        "CELERY_CONFIG_MODULE": "demo.celeryconfig",
        "CELERY_BROKER_URL": f"sqlite:///{tmp_path}/broker.db",
    }
    for command in (["framework", "tasks"], ["gunicorn", "--check-config", "demo:create_app()"]):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        ["framework", "tasks"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "demo.tasks.report.sales_report" in listed.stdout


def is_sent(name):
    """Return whether .dockerignore includes a name of the root; the last matching rule decides."""
    sent = True
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if fnmatch(name, rule.removeprefix("!")) and not rule.startswith("#"):
            sent = rule.startswith("!")
    return sent


def test_private_and_large_files_are_not_sent():
    assert not any(is_sent(name) for name in (".git", ".venv", ".env", "tests", "docs", "broker.db"))

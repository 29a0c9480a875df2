"""The demo's pages, on a real embedded broker."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

VISIT = """
import re
from demo import create_app
from framework.celery.celery import celery

visitor = create_app({"REPORT_SALES": 5_000}).test_client()
token = re.search('form_token" value="([^"]+)', visitor.get("/contact").text)[1]
GOOD = {"sender": "ann@example.org", "subject": "Hours", "text": "Open?", "form_token": token}

def contact(**changed):
    return visitor.post("/contact", data={**GOOD, **changed})

def queued():
    with celery.connection_for_read() as connection:
        try:
            return connection.default_channel.queue_declare("celery", passive=True).message_count
        except connection.channel_errors:
            return 0
"""


def visit(folder, code, *launcher):
    environment = {
        **os.environ,
        "CELERY_BROKER_URL": f"sqlite:///{folder}/broker.db",
        "CELERY_CONFIG_MODULE": "demo.celeryconfig",
        "PYTHONPATH": str(ROOT),
    }
    script = folder / "visit.py"
    script.write_text(VISIT + textwrap.dedent(code))
    command = [*launcher, sys.executable, str(script)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_pages_speak_the_visitors_language(tmp_path):
    visit(
        tmp_path,
        """
        for page in ("/", "/contact", "/report", "/mails"):
            spanish = visitor.get(page, headers={"Accept-Language": "es-ES,es"})
            assert spanish.status_code == 200 and '<html lang="es">' in spanish.text, page
            assert "default-src 'self'" in spanish.headers["Content-Security-Policy"]
        assert '<html lang="en">' in visitor.get("/?lang=en", headers={"Accept-Language": "es"}).text
        """,
    )


def test_the_second_message_of_a_visitor_is_told_when_to_come_back(tmp_path):
    visit(
        tmp_path,
        """
        assert contact().status_code == 303
        again = contact()
        assert again.status_code == 429 and 1 <= int(again.headers["Retry-After"]) <= 10
        assert "Open?" in again.text
        assert queued() == 1
        """,
    )


def test_bad_forms_are_refused_and_queue_nothing(tmp_path):
    visit(
        tmp_path,
        """
        assert contact(form_token="forged").status_code == 400
        assert contact(text="x" * 70_000).status_code == 413
        assert contact(sender="ann@example.org\\r\\nBcc: eve@example.org").status_code == 422
        assert contact(subject="Hours\\r\\nBcc: eve@example.org").status_code == 422
        shown = contact(sender="<script>alert(1)</script>")
        assert shown.status_code == 422 and "<script>alert" not in shown.text
        assert queued() == 0
        """,
    )


def test_a_report_is_watched_to_its_end_by_its_visitor_alone(tmp_path):
    said = visit(
        tmp_path,
        """
        import time
        assert visitor.post("/report", data={"form_token": token}).status_code == 303
        address = re.search('src="(/tasks/[^"]+)"></task', visitor.get("/report").text)[1]
        until = time.monotonic() + 40
        while (state := visitor.get(address).get_json()).get("status") != "success":
            assert time.monotonic() < until, state
            time.sleep(0.1)
        assert create_app({"SECRET_KEY": "another"}).test_client().get(address).status_code == 403
        print("months:", len(state["result"]))
        """,
        sys.executable,
        "-m",
        "framework",
        "up",
        "--",
    )
    assert re.search("months: 12", said)

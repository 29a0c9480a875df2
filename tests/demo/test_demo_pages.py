"""The demo's pages, on a real embedded broker."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]

VISIT = """
import re
from demo import create_app
from framework.celery.celery import celery

visitor = create_app().test_client()
token = re.search('form_token" value="([^"]+)', visitor.get("/contact").text)[1]
GOOD = {"sender": "ann@example.org", "subject": "Hours", "text": "Open?", "form_token": token}

# The limit lasts longer than a test takes on a busy machine.
from demo import contact as contact_form
from framework.limits import Limit
contact_form.PER_VISITOR = Limit("1/h", name="demo.contact")

def contact(**changed):
    return visitor.post("/contact", data={**GOOD, **changed})

def queued():
    with celery.connection_for_read() as connection:
        try:
            return connection.default_channel.queue_declare("celery", passive=True).message_count
        except connection.channel_errors:
            return 0
"""


def visit(folder, code):
    environment = {
        **os.environ,
        "CELERY_BROKER_URL": f"sqlite:///{folder}/broker.db",
        "CELERY_CONFIG_MODULE": "demo.celeryconfig",
        "PYTHONPATH": str(ROOT),
        "DEMO_DATA": str(folder / "data"),
    }
    script = folder / "visit.py"
    script.write_text(VISIT + textwrap.dedent(code))
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_are_in_the_visitors_language(tmp_path):
    visit(
        tmp_path,
        """
        for page in ("/", "/contact", "/lookup", "/report", "/schedule", "/failed", "/mails"):
            spanish = visitor.get(page, headers={"Accept-Language": "es-ES,es"})
            assert spanish.status_code == 200 and '<html lang="es">' in spanish.text, page
            assert "default-src 'self'" in spanish.headers["Content-Security-Policy"]
        assert '<html lang="en">' in visitor.get("/?lang=en", headers={"Accept-Language": "es"}).text
        """,
    )


def test_the_second_message_of_a_visitor_is_refused_with_a_time_to_retry(tmp_path):
    visit(
        tmp_path,
        """
        assert contact().status_code == 303
        again = contact()
        assert again.status_code == 429 and 3000 <= int(again.headers["Retry-After"]) <= 3600
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
        answer = contact(sender="<script>alert(1)</script>")
        assert answer.status_code == 422 and "<script>alert" not in answer.text
        assert queued() == 0
        """,
    )


def test_fields_are_repeated_as_text_and_never_as_html(tmp_path):
    visit(
        tmp_path,
        """
        HTML = "<script>alert(1)</script>"
        for field in ("sender", "subject", "text"):
            answer = contact(**{"sender": "nobody", field: HTML})
            assert answer.status_code == 422 and HTML not in answer.text, field
        answer = visitor.post("/lookup", data={"number": HTML, "form_token": token})
        assert answer.status_code == 422 and HTML not in answer.text.upper()
        assert queued() == 0
        """,
    )


def test_a_forbidden_or_missing_page_is_an_error_without_details(tmp_path):
    visit(
        tmp_path,
        """
        import time
        from itsdangerous import URLSafeTimedSerializer
        visitor.post("/lookup", data={"number": "ES123451", "form_token": token})
        address = re.search('src="(/tasks/[^"]+)" label', visitor.get("/lookup").text)[1]
        while (status := visitor.get(address).get_json()["status"]) == "unknown":
            time.sleep(0.1)  # a call waits for one second at most until its state is published
        assert status == "queued"

        # Another visitor, a forged address, and an expired one.
        other = visitor.application.test_client()
        other.get("/contact")
        assert other.get(address).status_code == 403
        assert visitor.get(address[:-3] + "abc").status_code == 403
        visitor.application.config["TASK_PROGRESS_TOKEN_EXPIRES"] = -1
        late = re.search('src="(/tasks/[^"]+)" label', visitor.get("/lookup").text)[1]
        assert visitor.get(late).status_code == 410

        for method, page, code in (
            ("get", "/nothing", 404),
            ("get", "/report/11111111-2222-3333-4444-555555555555.csv", 404),
            ("get", "/report/../../etc/passwd.csv", 404),
            ("get", "/failed/retry", 405),
            ("post", "/schedule/no such entry/run", 404),
            ("post", "/schedule/count mails/explode", 404),
        ):
            answer = getattr(visitor, method)(page, data={"form_token": token} if method == "post" else None)
            assert answer.status_code == code, page
            assert "Traceback" not in answer.text
        assert visitor.post("/failed/nothing/retry", data={"form_token": token}).status_code == 303
        assert visitor.post("/failed/invoice").status_code == 400
        """,
    )


def test_a_flood_of_forms_is_answered_and_queues_one(tmp_path):
    visit(
        tmp_path,
        """
        codes = [contact().status_code for _ in range(200)]
        assert codes[0] == 303 and set(codes[1:]) == {429}
        assert queued() == 1
        """,
    )


def test_behind_a_proxy_each_visitor_has_a_limit(tmp_path):
    visit(
        tmp_path,
        """
        behind = create_app({"PROXIES": 1}).test_client()
        token = re.search('form_token" value="([^"]+)', behind.get("/contact").text)[1]
        def send(address):
            headers = {"X-Forwarded-For": address}
            return behind.post("/contact", data={**GOOD, "form_token": token}, headers=headers).status_code
        assert [send("192.0.2.1"), send("192.0.2.2"), send("192.0.2.1")] == [303, 303, 429]
        """,
    )


def test_a_mail_of_any_program_is_displayed(tmp_path):
    """Section D: a mail without a Date made the page fail for ever."""
    visit(
        tmp_path,
        r"""
        from smtplib import SMTP
        from demo.mail_server import MailServer
        with MailServer(0) as server, SMTP("127.0.0.1", server.port) as client:
            for mail in (
                b"Subject: Without a date\r\n\r\nHello",
                b"Date: yesterday\r\nSubject: With another date\r\n\r\nHello",
                b"Content-Type: text/plain; charset=klingon\r\nSubject: Of letters unknown\r\n\r\n\xff",
                b"Content-Type: multipart/mixed; boundary=x\r\nSubject: In parts\r\n\r\n--x--\r\n",
                b"no header",
            ):
                client.sendmail("ann@example.org", "bob@example.org", mail)
        page = visitor.get("/mails")
        assert page.status_code == 200 and page.text.count("<article") == 5
        for subject in ("Without a date", "With another date", "Of letters unknown", "In parts"):
            assert subject in page.text
        """,
    )


def test_every_page_has_the_zone_of_the_settings_and_names_it(tmp_path):
    """Section D: one page had the times of the machine, another those of Madrid."""
    visit(
        tmp_path,
        r"""
        from demo import shop
        from demo.mail_server import folder
        from framework.failures.headers import failure_headers
        from framework.failures.queue import failed_queue
        (folder("mails") / "one").write_bytes(b"Subject: One\r\n\r\nHello")
        shop.store_count(1)
        why = failure_headers(reason="failed", error="e", traceback="", attempts=1, worker="w", queue="celery")
        with celery.connection_for_write() as connection:
            channel = connection.default_channel
            failed_queue("celery.failed")(channel).declare()
            message = channel.prepare_message("[[], {}, {}]", None, "application/json", "utf-8", {"id": "a", **why})
            channel.basic_publish(message, exchange="celery.failed", routing_key="")
        for page in ("/mails", "/schedule", "/failed"):
            times = re.findall(r"\d\d:\d\d:\d\d[^<.;·]*", visitor.get(page).text)
            assert times and all(time.strip().endswith(("CET", "CEST")) for time in times), (page, times)
        """,
    )

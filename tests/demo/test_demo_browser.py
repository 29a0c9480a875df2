"""The demo's pages, as visitors see them: real browsers, worker, scheduler, mail server and parcel service."""

import csv
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)

PAGES = ("", "contact", "lookup", "report", "schedule", "failed", "mails")

KEEP_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(address) { super(address); window.sockets.push(this); }
};
"""


def working_processes(demo):
    """The processes in which the demo's worker runs tasks."""
    parents = {pid: int(stat.rpartition(")")[2].split()[1]) for pid, stat in stats()}
    below = {demo.process.pid}
    for _ in range(4):
        below |= {pid for pid, parent in parents.items() if parent in below}
    # A process of the pool looks like the worker that it was forked from.
    workers = {pid for pid in below if b"worker" in command_line(pid)}
    return [pid for pid in workers if parents[pid] in workers]


def stats():
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        yield int(stat.parent.name), text


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def sums_of(demo, rows=20_000):
    with closing(sqlite3.connect(demo.folder / "data" / f"sales-{rows}.db")) as database:
        return dict(database.execute("SELECT month, round(sum(euros), 2) FROM sales GROUP BY month"))


@pytest.mark.parametrize(("language", "word"), [("en", "Failed tasks"), ("es", "Tareas fallidas")])
def test_every_page_is_in_the_visitors_language_and_the_browser_logs_no_error(visitor, language, word):
    reader = visitor(language)

    for page in PAGES:
        reader.go(f"/{page}")

        assert reader.wait_until("document.documentElement.lang") == language
        assert word in reader.browser.find_element("tag name", "header").text
        assert reader.browser.get_log("browser") == [], page


def test_the_language_is_changed_without_leaving_the_page(visitor):
    reader = visitor("en")
    reader.go("/report")

    reader.press(".languages a")

    assert reader.wait_until("document.documentElement.lang") == "es"
    assert reader.browser.current_url.startswith(f"{reader.site}/report")
    reader.go("/contact")
    assert reader.wait_until("document.documentElement.lang") == "es"


def test_the_retries_of_a_mail_that_is_refused_twice_are_displayed_until_it_is_delivered(visitor):
    ana = visitor("es")
    ana.go("/contact")
    ana.press("#refuse")

    ana.fill(sender="ana@example.org", subject="Horario <b>", text="¿Abren los domingos?")

    # The newest mail comes first.
    mail = "[...document.querySelectorAll('task-progress')].at(-1)"
    ana.wait_until(f"{mail}?.shadowRoot?.querySelector('.name')?.textContent.includes('nuevo intento en')")

    # A second mail at once is refused, with a countdown until the next one. One after ten seconds is not.
    ana.fill(sender="ana@example.org", subject="Otra", text="¿Y los lunes?")
    if not ana.see("[data-countdown]"):
        ana.fill(sender="ana@example.org", subject="Otra", text="¿Y los lunes?")
    seconds = int(ana.wait_for("[data-countdown]").text)
    assert 1 <= seconds <= 10
    assert ana.browser.find_element("name", "text").get_attribute("value") == "¿Y los lunes?"
    assert ana.wait_until(f"document.querySelector('[data-countdown]').textContent < {seconds}")

    assert ana.wait_until(f"{mail}?.state?.status === 'success'")
    assert ana.wait_until(f"{mail}.state.attempt") == 3
    assert "Entregado" in ana.text
    ana.go("/mails")
    assert "Horario <b>" in ana.text
    assert "¿Abren los domingos?" in ana.text


def test_the_responses_of_a_third_party_api_appear_without_a_reload(visitor):
    ann = visitor("en")
    ann.go("/lookup")
    ann.fill(number="nonsense")
    assert "Two letters and six digits" in ann.wait_for(".error").text

    ann.fill(number="es123459")
    ann.fill(number="ES123457")
    ann.fill(number="ES123450")

    # None of these reloads the page.
    ann.browser.execute_script("window.same = true")
    invalid, failing_twice, unknown = (f"section:nth-of-type({place})" for place in (3, 2, 1))
    assert "This parcel is unknown" in ann.wait_for(f"{unknown} .result").text
    assert "It is in" in ann.wait_for(f"{failing_twice} .result").text
    ann.wait_for(f"{invalid} task-progress[status=failure]")
    detail = f"document.querySelector('{invalid} task-progress').shadowRoot.querySelector('.detail').textContent"
    assert ann.wait_until(detail) == "The parcel service sent an invalid response."
    assert "Please try again later" in ann.text
    assert ann.wait_until("window.same")


def test_a_report_survives_a_reload_a_closed_socket_and_a_killed_worker(visitor, demo):
    ben = visitor("en")
    ben.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": KEEP_SOCKETS})
    ben.go("/report")
    ben.press("main > form button")
    fraction = "(document.querySelector('task-progress').state?.progress?.fraction ?? 0)"
    ben.wait_until(f"{fraction} > 0.1")

    # A second one is not started meanwhile; the first one waits, so that it is not over before.
    stopped = working_processes(demo)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    ben.press("main > form button")
    ben.wait_for_text(".notice", "being made already")
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    assert len(ben.see("task-progress")) == 1

    ben.browser.refresh()
    ben.wait_until(f"{fraction} > 0.2")
    ben.wait_until("window.sockets.length && window.sockets.at(-1).close() === undefined")
    killed = working_processes(demo)
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)

    ben.wait_until("document.querySelector('task-progress').state?.status === 'success'")
    assert ben.wait_for(".bars")
    with next((demo.folder / "data" / "reports").glob("*.csv")).open(newline="") as file:
        report = list(csv.DictReader(file))
    months = {
        month: round(sum(float(row["euros"]) for row in report if int(row["month"]) == month), 2)
        for month in range(1, 13)
    }
    assert months == pytest.approx(sums_of(demo))
    assert all(float(row["low"]) < float(row["mean"]) < float(row["high"]) for row in report)

    # Closed and opened again, the page still has it, for this visitor alone.
    address = ben.wait_for("a[href$='.csv']").get_attribute("href")
    ben.browser.switch_to.new_window("tab")
    ben.go("/report")
    assert ben.wait_for("a[href$='.csv']").get_attribute("href") == address
    other = visitor("en")
    other.go("/report")
    assert not other.see("task-progress")
    other.go(address.removeprefix(demo.url))
    assert "404" in other.text


def test_an_entry_of_the_schedule_is_paused_resumed_and_run_now(visitor):
    ann = visitor("en")
    ann.wait_for_page("/schedule", "leads since")
    assert "2nd Tuesday 01:00" in ann.text

    ann.press("form[action='/schedule/count%20mails/pause'] button")
    ann.wait_for_text(".badge", "paused")
    ann.press("form[action='/schedule/count%20mails/resume'] button")
    ann.wait_for_text(".notice", "was resumed")
    assert not ann.see(".badge")

    ann.press("form[action='/schedule/mark%20expiring%20cards/run'] button")
    assert ann.wait_until("Number(document.querySelector('#results dd').textContent) > 0")


def test_a_failed_task_is_listed_retried_and_dropped(visitor):
    ann = visitor("en")
    ann.go("/failed")
    invoice = "section[aria-label^='demo.tasks.shop.print_invoice']"
    ann.press("form[action$=invoice] button")
    ann.wait_for_text(f"{invoice} dd:has(.badge)", "the printer has no paper")

    # Retried without paper, it fails again; with paper, it succeeds.
    ann.press(f"{invoice} form[action$='/retry'] button")
    ann.wait_for_text(".notice", "Sent again: 1")
    ann.wait_for(invoice)
    ann.press("form[action$=paper] button")
    ann.wait_for_text("main", "The printer has paper")
    ann.press(f"{invoice} form[action$='/retry'] button")
    ann.wait_until(f'!document.querySelector("{invoice}")')

    ann.press("form[action$=paper] button")
    ann.press("form[action$=invoice] button")
    ann.press(f"{invoice} details button")
    ann.wait_for_text(".notice", "Dropped: 1")


def test_it_fits_on_a_phone(visitor):
    ann = visitor("es")
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": False}
    ann.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    root = "document.documentElement"

    for page in PAGES:
        ann.go(f"/{page}")

        # The scroll bar of a long page takes a part of the 360 pixels.
        assert ann.wait_until("innerWidth") == 360
        assert ann.wait_until(f"{root}.scrollWidth") == ann.wait_until(f"{root}.clientWidth"), page

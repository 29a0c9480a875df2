"""The whole demo, as `make demo` starts it, and visitors with real browsers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait

from framework.errors import BrowserMissing
from framework.testing.browser import open_browser
from framework.testing.rabbitmq import free_ports

ROOT = Path(__file__).parents[2]
WAIT = 90
START_SECONDS = 120  # of five processes, on a machine where other tests run


class Demo:
    """Broker, worker, beat, web server, mail server and parcel service."""

    def __init__(self, folder, **settings):
        mail, api = free_ports(2)
        self.folder = folder
        self.environment = {
            **os.environ,
            "CELERY_CONFIG_MODULE": "demo.celeryconfig",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "DEMO_PORT": "0",
            "DEMO_DATA": str(folder / "data"),
            "DEMO_API_URL": f"http://127.0.0.1:{api}",
            "DEMO_API_DELAY": "0.1",
            "DEMO_REPORT_ROWS": "20000",
            "DEMO_REPORT_ROUNDS": "600",
            "MAIL_PORT": str(mail),
            **settings,
        }
        self.log = folder / "demo.log"
        command = [sys.executable, "-m", "framework", "up", "--", sys.executable, "-m", "demo"]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            self.url = self.wait_for(r"demo +(http://\S+)", START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def wait_for(self, pattern, seconds):
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)
        return found[1]

    def stop(self, sign=signal.SIGINT):
        self.process.send_signal(sign)
        return self.process.wait(WAIT)


class Visitor:
    """A visitor with a browser."""

    def __init__(self, browser, site):
        self.browser, self.site = browser, site

    def go(self, page):
        self.browser.get(self.site + page)

    def wait_for_page(self, page, text):
        """Load a page until it has a text."""

        def has_it(_):
            self.go(page)
            return text in self.text

        WebDriverWait(self.browser, WAIT, 0.5).until(has_it)

    def see(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def wait_for(self, selector):
        WebDriverWait(self.browser, WAIT, 0.05).until(lambda _: self.see(selector))
        return self.see(selector)[0]

    def wait_until(self, script):
        return WebDriverWait(self.browser, WAIT, 0.05).until(lambda browser: browser.execute_script(f"return {script}"))

    def wait_for_text(self, selector, text):
        """Wait until an element has a text: after a click the previous page is still there for a while."""
        elements = f"[...document.querySelectorAll({json.dumps(selector)})]"
        self.wait_until(f"{elements}.some(element => element.textContent.includes({json.dumps(text)}))")

    def press(self, selector):
        self.browser.execute_script("arguments[0].click()", self.wait_for(selector))

    def fill(self, **fields):
        for name, value in fields.items():
            field = self.browser.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)
        before = self.browser.find_element(By.TAG_NAME, "main")
        self.press("main form.card > button")
        WebDriverWait(self.browser, WAIT, 0.05).until(staleness_of(before))

    @property
    def text(self):
        return self.browser.find_element(By.TAG_NAME, "main").text


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    running = Demo(tmp_path_factory.mktemp("demo"))
    yield running
    assert running.stop() in (0, 130), running.log.read_text()


@pytest.fixture
def visitor(demo, tmp_path):
    """A function that makes visitors, each with its own browser and a language."""
    browsers = []

    def arrive(language="en", site=None):
        try:
            browsers.append(open_browser(tmp_path / f"profile-{len(browsers)}", language=language))
        except BrowserMissing as missing:
            pytest.skip(str(missing))
        return Visitor(browsers[-1], site or demo.url)

    yield arrive
    for browser in browsers:
        browser.quit()

"""``make screenshots``: pictures of every page for the guide, in both languages, on a phone and on a desktop."""

import sys
from base64 import b64decode
from collections.abc import Callable
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from werkzeug.serving import make_server

from demo import create_app
from demo.external import external_services
from framework.testing.browser import open_browser

SIZES = {"phone": (390, 844), "desktop": (1000, 700)}
#: The ending of a picture's name; Sphinx chooses the picture by the language in its name.
ENDINGS = {"en": "webp", "es": "es.webp"}
WAIT_SECONDS = 60
SLOW_REPORT = {"REPORT_ROWS": 50_000, "REPORT_ROUNDS": 2_000}


class Photographer:
    """A visitor with a browser of a language and a size, who takes pictures of pages."""

    def __init__(self, browser: Chrome, site: str, size: tuple[int, int], file: Callable[[str], Path]) -> None:
        self.browser, self.site = browser, site
        self._size, self._file = size, file
        self._set_size(*size)

    def go(self, page: str) -> None:
        """Open a page."""
        self.browser.get(f"{self.site}{page}")

    def take(self, name: str) -> None:
        """Take a picture of the whole page."""
        width, height = self._size
        self._set_size(width, max(height, self.browser.execute_script("return document.body.scrollHeight")))
        picture = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 90})
        self._file(name).write_bytes(b64decode(picture["data"]))
        self._set_size(width, height)

    def _set_size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def fill(self, **fields: str) -> None:
        """Fill in a form, and send it."""
        for name, value in fields.items():
            field = self.browser.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)
        self.press("main form.card > button")

    def press(self, selector: str) -> None:
        """Press a button."""
        button = self.browser.find_element(By.CSS_SELECTOR, selector)
        self.browser.execute_script("arguments[0].click()", button)

    def wait_for(self, selector: str) -> None:
        """Wait until an element exists."""
        self._wait(lambda browser: browser.find_elements(By.CSS_SELECTOR, selector))

    def wait_until(self, script: str) -> None:
        """Wait until a script returns something true."""
        self._wait(lambda browser: browser.execute_script(f"return {script}"))

    def _wait(self, condition: Callable[[Chrome], object]) -> None:
        WebDriverWait(self.browser, WAIT_SECONDS).until(condition)


def tour(visitor: Photographer) -> None:
    """Visit every page, with data on it."""
    pages: dict[str, Callable[[Photographer], None]] = {
        "contact": contact,
        "lookup": lookup,
        "report": report,
        "failed": failed,
    }
    visitor.go("/")
    visitor.take("home")
    for page, visit in pages.items():
        visitor.go(f"/{page}")
        visit(visitor)
    for page in ("schedule", "mails"):
        visitor.go(f"/{page}")
        visitor.take(page)


def contact(visitor: Photographer) -> None:
    """Send an invalid form, a mail that is retried, and a second one too early."""
    visitor.fill(sender="ann", subject="Hours", text="Are you open on Sunday?")
    visitor.take("contact-invalid")
    visitor.browser.find_element(By.ID, "refuse").click()
    visitor.fill(sender="ann@example.org")
    visitor.wait_for("task-progress[status=retry]")
    visitor.take("contact-retry")
    visitor.go("/contact")
    visitor.fill(sender="ann@example.org", subject="Hours", text="Are you open on Sunday?")
    visitor.take("contact-again")


def lookup(visitor: Photographer) -> None:
    """Look up a known and an unknown parcel."""
    visitor.fill(number="ES123450")
    visitor.fill(number="ES123451")
    visitor.wait_for("section:nth-of-type(1) .answer")
    visitor.wait_for("section:nth-of-type(2) .answer")
    visitor.take("lookup")


def report(visitor: Photographer) -> None:
    """Run a report to its end."""
    visitor.press("main > form button")
    visitor.wait_until("document.querySelector('task-progress').state?.progress?.fraction > 0.4")
    visitor.take("report-running")
    visitor.wait_for(".bars")
    visitor.take("report-done")


def failed(visitor: Photographer) -> None:
    """Make a task fail."""
    visitor.press("form[action$=invoice] button")
    visitor.wait_for("#failed .badge")
    visitor.take("failed")


def main(folder: Path) -> None:
    """Take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    server = make_server("127.0.0.1", 0, create_app(SLOW_REPORT), threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{server.server_port}"
    with external_services():
        for (language, ending), (size, pixels) in product(ENDINGS.items(), SIZES.items()):
            with TemporaryDirectory() as profile, open_browser(Path(profile), language=language) as browser:
                kind = f"{size}.{ending}"
                tour(Photographer(browser, site, pixels, lambda name, kind=kind: folder / f"{name}-{kind}"))
    server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

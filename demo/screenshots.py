"""``make screenshots``: every page, in both languages, on a phone and on a desktop, as pictures for the guide."""

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
from demo.outside import outside
from framework.testing.browser import open_browser

SIZES = {"phone": (390, 844), "desktop": (1000, 700)}
#: What a picture's name ends with; Sphinx shows one whose name has a language to readers of that language.
ENDINGS = {"en": "webp", "es": "es.webp"}
WAIT = 60
SLOWLY = {"REPORT_ROWS": 50_000, "REPORT_ROUNDS": 2_000}


class Photographer:
    """A visitor with a browser of a language and a size, who keeps pictures of what there is to see."""

    def __init__(self, browser: Chrome, site: str, size: tuple[int, int], file: Callable[[str], Path]) -> None:
        self.browser, self.site = browser, site
        self._size, self._file = size, file
        self._look_at(*size)

    def go(self, page: str) -> None:
        """Open a page."""
        self.browser.get(f"{self.site}{page}")

    def keep(self, name: str) -> None:
        """Keep a picture of the whole page."""
        width, height = self._size
        self._look_at(width, max(height, self.browser.execute_script("return document.body.scrollHeight")))
        picture = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 90})
        self._file(name).write_bytes(b64decode(picture["data"]))
        self._look_at(width, height)

    def _look_at(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def fill(self, **fields: str) -> None:
        """Fill a form in, and send it."""
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
        """Wait until something is there."""
        WebDriverWait(self.browser, WAIT).until(lambda browser: browser.find_elements(By.CSS_SELECTOR, selector))

    def wait_until(self, script: str) -> None:
        """Wait until something is true of the page."""
        WebDriverWait(self.browser, WAIT).until(lambda browser: browser.execute_script(f"return {script}"))


def tour(visitor: Photographer) -> None:
    """Every page, with something on it."""
    pages: dict[str, Callable[[Photographer], None]] = {
        "contact": contact,
        "lookup": lookup,
        "report": report,
        "failed": failed,
    }
    visitor.go("/")
    visitor.keep("home")
    for page, see in pages.items():
        visitor.go(f"/{page}")
        see(visitor)
    for page in ("schedule", "mails"):
        visitor.go(f"/{page}")
        visitor.keep(page)


def contact(visitor: Photographer) -> None:
    """Wrong, sent, and tried again."""
    visitor.fill(sender="ann", subject="Hours", text="Are you open on Sunday?")
    visitor.keep("contact-wrong")
    visitor.browser.find_element(By.ID, "refuse").click()
    visitor.fill(sender="ann@example.org")
    visitor.wait_for("task-progress[status=retry]")
    visitor.keep("contact-retry")
    visitor.go("/contact")
    visitor.fill(sender="ann@example.org", subject="Hours", text="Are you open on Sunday?")
    visitor.keep("contact-again")


def lookup(visitor: Photographer) -> None:
    """An answer, and none."""
    visitor.fill(number="ES123450")
    visitor.fill(number="ES123451")
    visitor.wait_for("section:nth-of-type(1) .answer")
    visitor.wait_for("section:nth-of-type(2) .answer")
    visitor.keep("lookup")


def report(visitor: Photographer) -> None:
    """On its way, and done."""
    visitor.press("main > form button")
    visitor.wait_until("document.querySelector('task-progress').state?.progress?.fraction > 0.4")
    visitor.keep("report-running")
    visitor.wait_for(".bars")
    visitor.keep("report-done")


def failed(visitor: Photographer) -> None:
    """One that failed."""
    visitor.press("form[action$=invoice] button")
    visitor.wait_for("#failed .badge")
    visitor.keep("failed")


def main(folder: Path) -> None:
    """Take them all."""
    folder.mkdir(parents=True, exist_ok=True)
    server = make_server("127.0.0.1", 0, create_app(SLOWLY), threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{server.server_port}"
    with outside():
        for (language, ending), (size, pixels) in product(ENDINGS.items(), SIZES.items()):
            with TemporaryDirectory() as profile, open_browser(Path(profile), language=language) as browser:
                kind = f"{size}.{ending}"
                tour(Photographer(browser, site, pixels, lambda name, kind=kind: folder / f"{name}-{kind}"))
    server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Opens a real browser for tests: Debian's Chromium without a window, driven by Selenium."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from framework.testing.apt import apt_install

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
from framework.errors import BrowserMissing

__all__ = ["open_browser"]


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def open_browser(
    profile: Path, *, language: str = "en", size: tuple[int, int] = (900, 700), reduced_motion: bool = False
) -> "Chrome":
    """Open a browser, to be closed with ``quit()``.

    Args:
        profile: an empty folder for the browser's data.
        language: the language of its user.
        size: the page's width and height, in pixels.
        reduced_motion: whether its user prefers reduced motion.

    Raises:
        BrowserMissing: Chromium is not installed.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        raise BrowserMissing.here()
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    motion = ["--force-prefers-reduced-motion"] if reduced_motion else []
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--lang={language}", *motion):
        options.add_argument(flag)
    options.add_argument(f"--window-size={size[0]},{size[1]}")
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def main(args: list[str]) -> int:
    """Run ``python -m framework.testing.browser install``: install a browser where it is missing and this user may.

    The other tests run without a browser, so this never fails, and prints what is missing.
    """
    if args != ["install"]:
        raise SystemExit("Usage: python -m framework.testing.browser install")
    if shutil.which("chromium") and shutil.which("chromedriver"):
        return 0
    if reason := apt_install("a browser", "chromium", "chromium-driver"):
        print(f"{BrowserMissing.here().message} (Not installed now: {reason}.)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

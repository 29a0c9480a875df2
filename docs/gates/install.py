"""Install what the gates need from Debian: a browser, dictionaries, and the font of the diagrams."""

import shutil
import sys
from pathlib import Path

from framework.testing import browser
from framework.testing.apt import apt_install

DICTIONARIES = ("hunspell", "hunspell-en-us", "hunspell-es")
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")


def main():
    """Install what is missing. Without it the guide is built, and the gates that need it are skipped."""
    browser.main(["install"])
    if not shutil.which("hunspell") and (reason := apt_install("dictionaries", *DICTIONARIES)):
        print(f"Spelling is not checked: {' '.join(DICTIONARIES)} are not installed ({reason}).", file=sys.stderr)
    if not FONT.exists() and (reason := apt_install("a font", "fonts-dejavu-core")):
        print(f"Words in diagrams may be out of place: fonts-dejavu-core is not installed ({reason}).", file=sys.stderr)


if __name__ == "__main__":
    main()

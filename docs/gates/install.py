"""Get what the gates of the guide want from Debian: a browser, and dictionaries of both languages."""

import shutil
import sys

from framework.testing import browser
from framework.testing.install import apt_install

DICTIONARIES = ("hunspell", "hunspell-en-us", "hunspell-es")


def main():
    """Without them the guide is built all the same, and the gates that want them are skipped."""
    browser.main(["install"])
    if not shutil.which("hunspell") and (reason := apt_install("dictionaries", *DICTIONARIES)):
        print(f"Spelling is not checked: {' '.join(DICTIONARIES)} are not installed ({reason}).", file=sys.stderr)


if __name__ == "__main__":
    main()

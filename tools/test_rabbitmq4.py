"""Test on other releases of RabbitMQ what depends on the server; reports the time of each.

    python tools/test_rabbitmq4.py [PYTEST OPTION ...]

A release that cannot be downloaded because there is no network is left out, and said so; any other reason is a failure
where CI=true.
"""

import os
import subprocess
import sys
import time

from framework.errors import DebianUnreachable, RabbitMQMissing
from framework.testing.rabbitmq_releases import RELEASES, install

# What depends on the server's own behaviour; starts of workers, commands and pages do not.
TESTS = [
    "tests/broker",
    "tests/integration/broker",
    "tests/integration/limits/test_sliding_window.py",
    "tests/integration/schedule/test_leadership.py",
]
CHAOS = "tests/chaos/test_chaos_mixed.py"


def is_installed(release: str) -> bool:
    """Install a release; return whether it is there.

    Raises:
        RabbitMQMissing: CI=true, and it is not for want of a network.
    """
    try:
        install(release)
    except RabbitMQMissing as missing:
        if os.environ.get("CI") == "true" and not isinstance(missing, DebianUnreachable):
            raise
        print(f"NOT TESTED on RabbitMQ {release}. {missing.message}", file=sys.stderr)
        return False
    return True


def run(release: str, *options: str) -> bool:
    """Run tests on a release; return whether they passed."""
    command = [sys.executable, "-m", "pytest", "-q", "--rabbitmq-release", release, *options]
    return subprocess.run(command, env={**os.environ, "CHAOS_SCALE": "0.1"}, check=False).returncode == 0


def main(options: list[str]) -> int:
    """Test each release; return 1 if a test failed."""
    results = []
    for release in filter(is_installed, RELEASES):
        began = time.monotonic()
        broker = run(release, "-n", "4", "--dist", "loadfile", *TESTS, *options)
        chaos = run(release, CHAOS, *options)
        results.append(broker and chaos)
        print(f"RabbitMQ {release}: {time.monotonic() - began:.0f} s, {'passed' if results[-1] else 'FAILED'}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

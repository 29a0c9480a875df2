"""Get what tests want from Debian, RabbitMQ and a browser: with apt, where it is missing and we may."""

import os
import shutil
import subprocess
import sys

# Debian starts a service as it installs it, unless this file says no. One that is there already is respected.
APT = """
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\\nexit 101\\n' > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get -qq update
apt-get -qq install --yes --no-install-recommends "$@"
"""


def apt_install(name: str, *packages: str) -> str:
    """Install packages of Debian's without starting their services.

    Args:
        name: what they are, for the one who waits.
        packages: their names.

    Returns:
        Why it could not be, in one line; empty when it is installed.
    """
    if not shutil.which("apt-get"):
        return "there is no apt-get here"
    command = ["/bin/sh", "-c", APT, "sh", *packages]
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if not sudo or subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode:
            return "that takes root, or sudo without a password"
        command = [sudo, "-n", *command]
    print(f"Installing {name} for the tests (apt-get install {' '.join(packages)}) ...", file=sys.stderr)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return _last_line(done.stderr + done.stdout) if done.returncode else ""


def _last_line(said: str) -> str:
    return next((line for line in reversed(said.splitlines()) if line.strip()), "apt-get failed")

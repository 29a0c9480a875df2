"""Installs Debian packages that the tests need, where this user may."""

import os
import shutil
import subprocess
import sys

# Debian starts a service when it installs it, unless policy-rc.d forbids it. An existing policy is left alone.
INSTALL_SCRIPT = """
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
    """Install Debian packages without starting their services.

    Args:
        name: the name of the software, for the message.
        packages: the names of the packages.

    Returns:
        Why the installation failed, in one line; empty after a success.
    """
    if not shutil.which("apt-get"):
        return "there is no apt-get here"
    command = ["/bin/sh", "-c", INSTALL_SCRIPT, "sh", *packages]
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if not sudo or subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode:
            return "it takes root, or sudo without a password"
        command = [sudo, "-n", *command]
    print(f"Installing {name} for the tests (apt-get install {' '.join(packages)}) ...", file=sys.stderr)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return _last_line(done.stderr + done.stdout) if done.returncode else ""


def _last_line(output: str) -> str:
    return next((line for line in reversed(output.splitlines()) if line.strip()), "apt-get failed")

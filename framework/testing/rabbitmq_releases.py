"""Finds the RabbitMQ that tests start: the installed one, or another release in a folder of the user's cache.

Other releases come from Debian's packages. apt-get downloads them with all that they need, checks them against Debian's
signed index, and leaves the system as it is; they are unpacked, and run with their own C library, without root.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from tempfile import TemporaryDirectory

from framework.errors import DebianUnreachable, RabbitMQMissing

__all__ = ["RELEASES", "Installation", "find", "install", "is_installed"]

#: The releases that can be had, and the suite of Debian that has each.
RELEASES = {"4.0": "trixie", "4.3": "forky"}

MIRROR = "https://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Debian's and Fedora's /usr/sbin/rabbitmq-server become the user "rabbitmq" and run this script.
PACKAGED_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
# Folders of packages that are not in the PATH of a user without privileges.
SBIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/sbin"

ERLANG = "usr/lib/erlang"
LOADER = "usr/lib/*/ld-linux*.so.*"
UNREACHABLE = re.compile(
    "could not (resolve|connect)|connection (failed|timed out)|unreachable|unable to connect", re.IGNORECASE
)
RUN_WITH_OWN_LIBRARIES = '#!/bin/sh\nexec "{loader}" --argv0 "$0" --library-path "{libraries}" "{program}" "$@"\n'


@dataclass(frozen=True)
class Installation:
    """A RabbitMQ that can be started.

    Args:
        script: The path of its start script.
        path: The value of PATH with which the script finds its Erlang.
    """

    script: Path
    path: str


def find(release: str | None = None) -> Installation:
    """Return a release that was installed with `install`, or the RabbitMQ of this machine.

    Args:
        release: Its first two numbers, such as "4.3"; None for the one of this machine.

    Raises:
        RabbitMQMissing: It is not installed.
    """
    path = os.environ.get("PATH", os.defpath)
    if release is None:
        found = shutil.which("rabbitmq-server", path=f"{path}:{SBIN_PATH}")
        if PACKAGED_SCRIPT.exists() or found:
            return Installation(PACKAGED_SCRIPT if PACKAGED_SCRIPT.exists() else Path(str(found)), path)
        raise RabbitMQMissing.here()
    folder = _folder(release)
    if not folder.exists():
        raise RabbitMQMissing.of(release, "it is not installed")
    return Installation(folder / "usr/lib/rabbitmq/bin/rabbitmq-server", f"{folder / ERLANG / 'bin'}:{path}")


def is_installed(release: str | None = None) -> bool:
    """Return whether `find` finds a release."""
    try:
        return bool(find(release))
    except RabbitMQMissing:
        return False


def install(release: str) -> None:
    """Download a release and unpack it into the user's cache, unless it is there.

    Raises:
        DebianUnreachable: Debian's mirror does not answer.
        RabbitMQMissing: This machine has no apt-get, or Debian no longer has that release.
    """
    folder = _folder(release)
    if folder.exists():
        return
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))) or not KEYRING.exists():
        raise RabbitMQMissing.of(release, "it takes apt-get and the package debian-archive-keyring")
    print(f"Downloading RabbitMQ {release} for the tests, into {folder} ...", file=sys.stderr)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as temporary:
        packages = _download(release, Path(temporary))
        root = Path(temporary, "root")
        for package in packages:
            subprocess.run(["dpkg-deb", "--extract", package, root], check=True)  # noqa: S607 - as apt-get, from PATH
        _relocate(root, folder)
        if not folder.exists():  # another process may have been faster
            root.rename(folder)


def _folder(release: str) -> Path:
    if release not in RELEASES:
        raise RabbitMQMissing.named(release, RELEASES)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "omstd-framework", f"rabbitmq-{release}")


def _download(release: str, folder: Path) -> list[Path]:
    """Have apt-get download the server and all that it depends on, as for a machine without any package."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {RELEASES[release]} main\n")
    options = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "",  # the user _apt cannot write into this folder
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", "-qq", *(f"--option={name}={value}" for name, value in options.items())]
    wanted = f"rabbitmq-server={release}.*"
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "--download-only", wanted]):
        done = subprocess.run([*apt, *command], stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True, check=False)
        if done.returncode:
            kind = DebianUnreachable if UNREACHABLE.search(done.stdout) else RabbitMQMissing
            raise kind.of(release, f"apt-get says {_first_error(done.stdout)}")
    return list((folder / "cache/archives").glob("*.deb"))


def _first_error(output: str) -> str:
    errors = [line for line in output.splitlines() if line.startswith("E: ")]
    return errors[0].removeprefix("E: ") if errors else "nothing"


def _relocate(root: Path, destination: Path) -> None:
    """Have Erlang's programs run in another folder, and with the libraries that they were built for."""
    [loader] = root.glob(LOADER)
    loader = destination / loader.relative_to(root)
    for file in [file for file in (root / ERLANG).rglob("*") if _is_program(file)]:
        if file.read_bytes().startswith(b"\x7fELF"):
            program = file.rename(file.with_name(f"{file.name}.elf"))
            moved = destination / program.relative_to(root)
            script = RUN_WITH_OWN_LIBRARIES.format(loader=loader, libraries=loader.parent, program=moved)
        else:
            script = file.read_text().replace(f"/{ERLANG}", str(destination / ERLANG))
        file.write_text(script)
        file.chmod(0o755)


def _is_program(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and os.access(file, os.X_OK) and file.parent.name == "bin"

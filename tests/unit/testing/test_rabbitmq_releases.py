"""Releases of RabbitMQ that are downloaded for tests."""

import shutil

import pytest

from framework.errors import DebianUnreachable, RabbitMQMissing
from framework.testing import rabbitmq_releases as releases
from framework.testing.rabbitmq import RabbitMQ, main

ELF = b"\x7fELF..."


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty folder for what is downloaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "omstd-framework"


def test_a_release_that_was_not_installed_is_an_error_with_the_command_that_installs_it():
    with pytest.raises(RabbitMQMissing, match=r"framework\.testing\.rabbitmq install 4\.3.*RABBITMQ_URL"):
        RabbitMQ(release="4.3")

    assert not releases.is_installed("4.3")


def test_a_release_that_cannot_be_downloaded_is_refused_with_those_that_can(capsys):
    assert main(["install", "4.9"]) == 1

    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("RabbitMQ 4.9 cannot be downloaded. The releases are 4.0, 4.3.")


def test_without_apt_the_error_says_what_it_takes(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RabbitMQMissing, match="it takes apt-get"):
        releases.install("4.3")


@pytest.mark.skipif(not shutil.which("apt-get") or not releases.KEYRING.exists(), reason="has no apt-get of Debian")
def test_without_a_network_nothing_is_installed_and_the_error_says_so(monkeypatch, cache):
    monkeypatch.setattr(releases, "MIRROR", "http://127.0.0.1:1/debian")

    with pytest.raises(DebianUnreachable, match=r"127\.0\.0\.1"):
        releases.install("4.3")

    assert list(cache.iterdir()) == []


def test_programs_run_in_another_folder_with_the_libraries_they_were_built_for(tmp_path):
    root, destination = tmp_path / "root", tmp_path / "destination"
    programs = root / "usr/lib/erlang/bin"
    programs.mkdir(parents=True)
    (root / "usr/lib/x86_64-linux-gnu").mkdir()
    (root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2").touch()
    for name, content in (("epmd", ELF), ("erl", b"#!/bin/sh\nROOTDIR=/usr/lib/erlang\n")):
        (programs / name).write_bytes(content)
        (programs / name).chmod(0o755)

    releases._relocate(root, destination)

    assert (programs / "epmd.elf").read_bytes() == ELF
    assert f'exec "{destination}/usr/lib/x86_64-linux-gnu/ld-linux' in (programs / "epmd").read_text()
    assert f"ROOTDIR={destination}/usr/lib/erlang\n" in (programs / "erl").read_text()

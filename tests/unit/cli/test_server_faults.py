"""The versions of RabbitMQ that `framework doctor` warns about."""

import pytest

from framework.cli.doctor import _faults
from framework.cli.server_faults import FAULTS, faults_of


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: ".".join(map(str, fault.fixed)))
def test_a_version_has_a_fault_until_the_version_that_fixes_it(fault):
    first, fixed = (".".join(map(str, version)) for version in (fault.first, fault.fixed))

    assert any(fault.url in line for line in faults_of(first))
    assert not any(fault.url in line for line in faults_of(fixed))


@pytest.mark.parametrize("version", ["3.10.8", "4.3.6", "4.4.0", "", "main"])
def test_a_version_without_a_known_fault_is_not_noted(version):
    assert list(faults_of(version)) == []


def test_each_fault_is_a_note_with_its_version_the_fix_and_upstreams_issue():
    [note] = _faults({"product": "RabbitMQ", "version": "3.13.2"})

    assert note.state == "note"
    assert "RabbitMQ 3.13.2 has a fault that 3.13.3 has not" in note.text
    assert "https://github.com/rabbitmq/rabbitmq-server/issues/11159" in note.text


def test_another_broker_has_no_faults_of_rabbitmq():
    assert list(_faults({})) == []

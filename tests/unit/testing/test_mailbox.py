"""The mail server of tests, with a real client."""

import smtplib
import socket
import subprocess
import sys

import pytest

from framework.errors import PortTaken
from framework.testing.mailbox import Mailbox
from framework.testing.rabbitmq import free_ports


def client(mailbox):
    return smtplib.SMTP("127.0.0.1", mailbox.port)


def post(mailbox, text="Subject: Hi\r\n\r\nHello\r\n"):
    with client(mailbox) as server:
        server.sendmail("ann@x.org", ["bob@x.org", "eve@x.org"], text)


def test_mails_are_stored_with_their_envelope():
    with Mailbox() as mailbox:
        post(mailbox)

        [message] = mailbox.wait_for(1)

    assert (message["Subject"], message.get_content()) == ("Hi", "Hello\r\n")
    assert (message["Return-Path"], message["Delivered-To"]) == ("ann@x.org", "bob@x.org, eve@x.org")


def test_the_first_mails_are_refused_temporarily_and_the_next_is_accepted():
    with Mailbox(fail_first=2) as mailbox:
        for _ in range(2):
            with pytest.raises(smtplib.SMTPDataError, match="451"):
                post(mailbox)
        post(mailbox)

        assert (len(mailbox.wait_for(1)), mailbox.refused) == (1, 2)


def test_a_mail_without_the_right_login_is_refused():
    with Mailbox(login=("ann", "secret")) as mailbox, client(mailbox) as server:
        with pytest.raises(smtplib.SMTPSenderRefused, match="Authentication required"):
            server.sendmail("ann@x.org", ["bob@x.org"], "Subject: Hi\r\n\r\n")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            server.login("ann", "wrong")
        server.login("ann", "secret")

        server.sendmail("ann@x.org", ["bob@x.org"], "Subject: Hi\r\n\r\n")

        assert len(mailbox.messages) == 1


def test_a_timeout_names_how_many_mails_arrived():
    with Mailbox() as mailbox:
        post(mailbox)

        with pytest.raises(TimeoutError, match=r"1 of 2 mails arrived within 0\.05 seconds"):
            mailbox.wait_for(2, timeout=0.05)


def test_a_port_that_is_taken_is_named():
    with Mailbox() as first, pytest.raises(PortTaken, match=f"port {first.port}"), Mailbox(first.port):
        pass


def test_the_port_is_free_after_the_with_block():
    [port] = free_ports(1)  # the system gives it to no other server in the meantime
    with Mailbox(port) as mailbox:
        post(mailbox)

    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=60):
        pass


def test_a_missing_aiosmtpd_is_an_error_with_the_extra_to_install():
    code = "import sys; sys.modules['aiosmtpd'] = None; import framework.testing.mailbox"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert 'pip install "omstd-framework[testing]"' in run.stderr.splitlines()[-1]

"""A visitor's mail: what is sent, how, and what is refused before anything is sent."""

import smtplib
import ssl
import subprocess
from email import message_from_bytes, policy
from email.headerregistry import Address

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from framework.contrib import mail
from framework.contrib.mail import MailSettings
from framework.errors import BadEnvironment, BadMail
from framework.testing.mailbox import Mailbox

OWNER = Address("", "owner", "site.org")
SETTINGS = MailSettings(owner=OWNER, sender=Address("Site", "web", "site.org"))
HEADERS = {"From", "To", "Reply-To", "Subject", "Date", "Message-ID"}
BODY_HEADERS = {"Content-Type", "Content-Transfer-Encoding", "MIME-Version"}


@pytest.fixture
def settings(monkeypatch):
    """A function that sets environment variables."""
    return lambda **variables: [monkeypatch.setenv(name, str(value)) for name, value in variables.items()]


@pytest.fixture
def mailbox(settings):
    with Mailbox() as mailbox:
        settings(MAIL_SERVER="127.0.0.1", MAIL_PORT=mailbox.port)
        yield mailbox


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    path, key = folder / "localhost.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command.split(), *names, "-keyout", key, "-out", path], check=True, capture_output=True)
    return path, key


def test_the_owner_receives_the_visitor_s_text_and_a_reply_goes_to_the_visitor(mailbox, settings):
    settings(MAIL_OWNER="owner@site.org", MAIL_DEFAULT_SENDER="Site <web@site.org>")

    mail.send("Ána <ana@x.org>", "¿Cuánto es?", "Hóla\n\n-- \nAna")

    [message] = mailbox.wait_for(1)
    assert message["To"] == message["Delivered-To"] == "owner@site.org"
    assert message["From"] == "Site <web@site.org>"
    assert message["Return-Path"] == "web@site.org"
    assert message["Reply-To"] == "Ána <ana@x.org>"
    assert message["Subject"] == "¿Cuánto es?"
    assert message["Date"].datetime.tzinfo is not None
    assert "Hóla\n\n-- \nAna" in message.get_content().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        ("my@my.com", "my@my.com"),
        ("From my@my.com", "my@my.com"),
        ("From: my@my.com", "my@my.com"),
        ("from:my@my.com ", "my@my.com"),
        ("From: Ann <ann@x.org>", "Ann <ann@x.org>"),
        ('"Ann, of X" <ann@x.org>', '"Ann, of X" <ann@x.org>'),
        ("fromage@x.org", "fromage@x.org"),
        ("ann@españa.es", "ann@xn--espaa-rta.es"),
        ("root@localhost", "root@localhost"),
    ],
)
def test_a_sender_is_understood_however_it_is_written(written, understood):
    assert mail.compose(SETTINGS, written, "", "")["Reply-To"] == understood


def test_without_a_sender_there_is_no_reply_address(mailbox):
    mail.send()

    [message] = mailbox.wait_for(1)
    assert message["Reply-To"] is None
    assert message["Subject"] == "Contact"
    assert "a visitor without an address" in message.get_content()


def test_the_same_key_gives_the_same_message_id_and_none_a_new_one():
    ids = [mail.compose(SETTINGS, None, "", "", key=key)["Message-ID"] for key in ("a b/c", "a b/c", "d", None, None)]

    assert ids[0] == ids[1] == "<a%20b%2Fc@site.org>"
    assert len(set(ids)) == 4


NOT_ONE_ADDRESS = [
    *(
        "",
        "ann",
        "ann@",
        "@x.org",
        "From",
        "a@x.org, b@x.org",
        "a@x.org,b@x.org",
        "<a@x.org> <b@x.org>",
        "Ann <a@x.org> b",
    ),
    *("a..b@x.org", ".a@x.org", "a@x..org", "a@-x.org", "señor@x.org", "a" * 65 + "@x.org", "a@" + "é" * 70 + ".es"),
    *("a@x.org\nBcc: b@x.org", "a@x.org\0", "=?utf-8?q?Ann=0D=0ABcc:_b=40x.org?= <a@x.org>"),
    *(7, ["a@x.org"]),
]


@pytest.mark.parametrize("sender", NOT_ONE_ADDRESS)
def test_a_sender_that_is_not_one_address_is_refused(sender, mailbox):
    with pytest.raises(BadMail, match="sender"):
        mail.send(sender)

    assert mailbox.messages == []


@pytest.mark.parametrize(
    "subject",
    ["Hi\r\nBcc: b@x.org", "Hi\nthere", "Hi\0", "Hi\x85", "Hi\u2028there", "Hi\ud800", "=?utf-8?q?a=0ABcc:_b?=", None],
)
def test_a_subject_that_is_not_one_line_is_refused(subject, mailbox):
    with pytest.raises(BadMail, match="subject"):
        mail.send("ann@x.org", subject)

    assert mailbox.messages == []


def test_values_at_the_limits_pass(mailbox):
    mail.send("ann@x.org", "s" * 200, "t" * 100_000)

    assert len(mailbox.wait_for(1)[0]["Subject"]) == 200
    for parts in (("a" * 400, "", ""), (None, "s" * 201, ""), (None, "", "é" * 50_001)):
        with pytest.raises(BadMail, match="At most"):
            mail.send(*parts)
    assert len(mailbox.messages) == 1


@pytest.mark.parametrize("text", ["a\0b", "half \udc80", b"bytes", None])
def test_a_text_that_no_mail_can_carry_is_refused(text):
    with pytest.raises(BadMail, match="text"):
        mail.compose(SETTINGS, None, "", text)


def test_a_text_cannot_end_the_mail_and_begin_another(mailbox):
    mail.send("ann@x.org", "Hi", "a\r\n.\r\nMAIL FROM:<b@x.org>\r\n\n.\n\r.\rQUIT\r\n.\r\nend")

    [message] = mailbox.wait_for(1)
    assert message.get_content().splitlines()[3:11] == ["a", ".", "MAIL FROM:<b@x.org>", "", ".", "", ".", "QUIT"]


# What passes as one line and has a meaning in headers; plain line breaks, refused everywhere, would only hide the rest.
PIECES = [*" aé<>@,;:\"'()\\=?", "b@x.org", "Bcc:x@y.z", "=?utf-8?q?", "?=", "=0D=0A", "=?utf-8?q?a=0D=0ABcc:x@y.z?="]
lines = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@examples(deadline=None)
@example(None, "=?utf-8?q?a=0D=0ABcc:x@y.z?=", "")
@given(st.none() | lines | lines.map(lambda name: f"{name} <a@x.org>"), lines, st.text())
def test_no_text_of_a_visitor_adds_a_header_or_a_recipient(sender, subject, text):
    try:
        message = mail.compose(SETTINGS, sender, subject, text)
    except BadMail:
        return

    received = message_from_bytes(message.as_bytes(), policy=policy.default)
    assert set(received.keys()) - {"Reply-To"} == HEADERS - {"Reply-To"} | BODY_HEADERS
    assert len(received.keys()) == len(set(received.keys()))
    assert received["To"] == "owner@site.org"
    assert sender is None or len(received["Reply-To"].addresses) == 1


def test_a_template_of_the_project_replaces_ours(mailbox, settings, tmp_path):
    template = tmp_path / "contact.txt"
    template.write_text("$sender schreibt für $$5:\n$text", encoding="utf-8")
    settings(MAIL_TEMPLATE=template)

    mail.send("ann@x.org", "Hi", "costs $subject and $nothing")

    assert mailbox.wait_for(1)[0].get_content().split("\r\n")[:2] == [
        "ann@x.org schreibt für $5:",
        "costs $subject and $nothing",
    ]


@pytest.mark.parametrize("template", [b"$unknown", b"100 $", b"\xff"])
def test_a_template_that_cannot_be_filled_in_is_named(template, mailbox, settings, tmp_path):
    path = tmp_path / "broken.txt"
    path.write_bytes(template)
    settings(MAIL_TEMPLATE=path)

    with pytest.raises(BadEnvironment, match=r"MAIL_TEMPLATE is '.*broken.txt'"):
        mail.send()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MAIL_PORT", "abc"),
        ("MAIL_PORT", "0"),
        ("MAIL_PORT", "65536"),
        ("MAIL_PORT", "25.5"),
        ("MAIL_USE_TLS", "perhaps"),
        ("MAIL_TIMEOUT", "nan"),
        ("MAIL_TIMEOUT", "0"),
        ("MAIL_OWNER", "nobody"),
        ("MAIL_DEFAULT_SENDER", "a@x.org, b@x.org"),
        ("MAIL_CA_FILE", "/no/such/file"),
        ("MAIL_TEMPLATE", "/no/such/file"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_value(variable, value, settings):
    settings(**{variable: value})

    with pytest.raises(BadEnvironment) as caught:
        MailSettings.from_environment()

    assert caught.value.message.startswith(f"The environment variable {variable} is {value!r}: it must be ")


def test_settings_that_do_not_go_together_are_refused(settings):
    settings(MAIL_USERNAME="ann")
    with pytest.raises(BadEnvironment, match="MAIL_PASSWORD is ''"):
        MailSettings.from_environment()

    settings(MAIL_PASSWORD="sécret")
    with pytest.raises(BadEnvironment, match="ASCII") as caught:
        MailSettings.from_environment()
    assert "sécret" not in caught.value.message

    settings(MAIL_PASSWORD="secret", MAIL_USE_TLS="1", MAIL_USE_SSL="1")
    with pytest.raises(BadEnvironment, match="MAIL_USE_TLS"):
        MailSettings.from_environment()


def test_the_password_is_not_in_the_repr():
    assert "secret" not in repr(MailSettings(owner=OWNER, sender=OWNER, username="ann", password="secret"))


def test_mail_goes_encrypted_and_logged_in(certificate, settings):
    path, key = certificate
    with Mailbox(certificate=path, key=key, login=("ann", "sesame")) as mailbox:
        settings(MAIL_SERVER="localhost", MAIL_PORT=mailbox.port, MAIL_USE_TLS="yes", MAIL_CA_FILE=path)
        settings(MAIL_USERNAME="ann", MAIL_PASSWORD="wrong")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            mail.send()
        settings(MAIL_PASSWORD="sesame")

        mail.send()

        assert len(mailbox.wait_for(1)) == 1


def test_a_password_is_not_sent_over_an_unencrypted_connection_unless_a_setting_allows_it(settings):
    """C2."""
    with Mailbox(login=("ann", "sesame")) as mailbox:
        settings(MAIL_SERVER="127.0.0.1", MAIL_PORT=mailbox.port, MAIL_USERNAME="ann", MAIL_PASSWORD="sesame")
        with pytest.raises(BadEnvironment, match=r"MAIL_USE_TLS is 'no'.*MAIL_UNENCRYPTED_LOGIN=yes") as caught:
            mail.send()
        assert "sesame" not in caught.value.message
        settings(MAIL_UNENCRYPTED_LOGIN="yes")

        mail.send()

        assert len(mailbox.wait_for(1)) == 1


def test_a_server_without_a_trusted_certificate_gets_no_mail(certificate, settings):
    path, key = certificate
    with Mailbox(certificate=path, key=key) as mailbox:
        settings(MAIL_SERVER="localhost", MAIL_PORT=mailbox.port, MAIL_USE_TLS="yes")

        with pytest.raises(ssl.SSLCertVerificationError):
            mail.send()

        assert mailbox.messages == []


def test_a_file_without_certificates_is_named(mailbox, settings, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.touch()
    settings(MAIL_USE_TLS="yes", MAIL_CA_FILE=empty)

    with pytest.raises(BadEnvironment, match=r"MAIL_CA_FILE is '.*empty.pem'"):
        mail.send()


def test_a_goodbye_that_fails_after_the_mail_was_taken_is_no_failure(settings):
    class Rude(Mailbox):
        async def handle_QUIT(self, server, session, envelope):
            server.transport.abort()
            return "221 Gone"

    with Rude() as mailbox:
        settings(MAIL_SERVER="127.0.0.1", MAIL_PORT=mailbox.port)

        mail.send()

        assert len(mailbox.messages) == 1

"""Checks of the parts of a mail that visitors write: address, subject and text. Invalid parts are refused."""

import re
import unicodedata
from email.headerregistry import Address

from framework.errors import BadMail

__all__ = ["SENDER_LIMIT", "SUBJECT_LIMIT", "TEXT_LIMIT", "address", "many_lines", "one_line", "visitor_address"]


#: Characters that the sender may have, name and address together.
SENDER_LIMIT = 320
#: Characters that a subject may have.
SUBJECT_LIMIT = 200
#: Bytes that the text may have, in UTF-8.
TEXT_LIMIT = 100_000

NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
USER = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE)
# The longest user and domain that SMTP takes.
USER_LIMIT, DOMAIN_LIMIT = 64, 253
# Scripts write this before an address, as mail itself does: "From ann@example.org", "From: ann@example.org".
FROM = re.compile(r"\s*from(:|\s)\s*", re.IGNORECASE)
# Control characters, the two line separators of Unicode, and halves of characters, which no encoding takes.
FORBIDDEN = frozenset({"Cc", "Zl", "Zp", "Cs"})
# How mail writes other letters than ASCII in a header. Python decodes one that it is given, and may then write out a
# line break that was hidden in it (python/cpython#121650).
ENCODED_WORD = re.compile(r"=\?[^?]*\?[bq]\?", re.IGNORECASE)


def visitor_address(sender: str) -> Address:
    """Return the address of a visitor, written alone, as ``Ann <ann@example.org>``, or after the word ``From``.

    Raises:
        BadMail: it is not one address.
    """
    line = one_line("sender", sender, SENDER_LIMIT)
    prefix = FROM.match(line)
    try:
        return address(line[prefix.end() :] if prefix else line)
    except ValueError as exc:
        raise BadMail.of("sender", "is no address", "Write ann@example.org or Ann <ann@example.org>.") from exc


def address(text: str) -> Address:
    """Return the one address in ``text``; a domain with other letters than ASCII is written as the network does.

    Raises:
        ValueError: it is not one address.
    """
    named = NAMED.fullmatch(text.strip())
    name, spec = (named["name"], named["address"]) if named else ("", text)
    user, _, domain = spec.strip().rpartition("@")
    domain = domain.encode("idna").decode()
    if len(user) > USER_LIMIT or len(domain) > DOMAIN_LIMIT:
        raise ValueError(text)
    if not (USER.fullmatch(user) and DOMAIN.fullmatch(domain)):
        raise ValueError(text)
    return Address(name.strip().strip('"'), user, domain)


def one_line(part: str, value: str, limit: int) -> str:
    """Return ``value`` if it is one line of at most ``limit`` characters: a second line could be a forged header.

    Raises:
        BadMail: it is not; the message names the ``part`` of the mail.
    """
    if not isinstance(value, str):
        raise BadMail.of(part, f"is a {type(value).__name__}", "It must be text.")
    if len(value) > limit:
        raise BadMail.of(part, f"has {len(value)} characters", f"At most {limit} are allowed.")
    if any(unicodedata.category(character) in FORBIDDEN for character in value):
        raise BadMail.of(part, "has line breaks or control characters", "Write it on one line.")
    if ENCODED_WORD.search(value):
        raise BadMail.of(part, "holds an encoded word (=?...?=)", "Write plain text; it is encoded for you.")
    return value


def many_lines(text: str) -> str:
    """Return ``text`` with one kind of line break, if a mail can carry it.

    Raises:
        BadMail: it cannot.
    """
    if not isinstance(text, str):
        raise BadMail.of("text", f"is a {type(text).__name__}", "It must be text.")
    if (size := len(text.encode("utf-8", "surrogatepass"))) > TEXT_LIMIT:
        raise BadMail.of("text", f"has {size} bytes", f"At most {TEXT_LIMIT} are allowed.")
    if re.search("[\0\ud800-\udfff]", text):
        raise BadMail.of("text", "has characters that no mail can carry", "Leave out NUL and halves of characters.")
    return re.sub("\r\n?", "\n", text)

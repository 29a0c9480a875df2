"""Who may watch which task: signed tokens, each for one task and one visitor, for a time."""

from collections.abc import Sequence
from hashlib import sha256

from framework.errors import BadTaskToken, ExpiredTaskToken, MissingExtra, MissingSecret

__all__ = ["Tokens"]


try:
    from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer
except ImportError as missing:
    raise MissingExtra.named("itsdangerous", "web") from missing

PURPOSE = "framework.web.task"

#: Seconds that a token is good for, where nothing else is said.
DAY = 24 * 3600


class Tokens:
    """Makes tokens and tells what they are for.

    The visitor is part of the key that signs, so a token tells nobody whose it is and is worth nothing to others.

    Args:
        secret: what signs; the same in every process. Of several, the last signs and the others are still understood.
        expires: seconds that a token is good for.

    Raises:
        MissingSecret: there is none.
    """

    def __init__(self, secret: "str | bytes | Sequence[str | bytes] | None", expires: int = DAY) -> None:
        given = [secret] if isinstance(secret, str | bytes) else list(secret or ())
        self._secrets = [each.encode() if isinstance(each, str) else each for each in given]
        self._expires = expires
        if not self._secrets or not all(self._secrets):
            raise MissingSecret.here()

    def make(self, task_id: str, visitor: str) -> str:
        """A token with which ``visitor`` may watch a task; fit for a URL."""
        return str(self._signer(visitor).dumps(task_id))

    def task_id(self, token: str, visitor: str | None) -> str:
        """The task that ``visitor`` may watch with a token.

        Raises:
            BadTaskToken: it was not made here, or for somebody else.
            ExpiredTaskToken: it was made for this visitor, too long ago.
        """
        if visitor is None:
            raise BadTaskToken.here()
        try:
            return str(self._signer(visitor).loads(token, max_age=self._expires))
        except SignatureExpired:
            raise ExpiredTaskToken.after(self._expires) from None
        except BadData:
            raise BadTaskToken.here() from None

    def _signer(self, visitor: str) -> URLSafeTimedSerializer:
        # Of a fixed length: no visitor's name can be read as another purpose's salt.
        salt = f"{PURPOSE}.{sha256(visitor.encode('utf-8', 'surrogatepass')).hexdigest()}"
        options = {"key_derivation": "hmac", "digest_method": sha256}
        return URLSafeTimedSerializer(self._secrets, salt=salt, signer_kwargs=options)

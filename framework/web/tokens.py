"""Signed tokens: each allows one visitor to watch one task for a limited time."""

from collections.abc import Sequence
from hashlib import sha256

from framework.errors import BadTaskToken, ExpiredTaskToken, MissingExtra, MissingSecret

__all__ = ["Tokens"]


try:
    from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer
except ImportError as missing:
    raise MissingExtra.named("itsdangerous", "web") from missing

PURPOSE = "framework.web.task"

#: Seconds that a token is valid by default.
DAY_SECONDS = 24 * 3600


class Tokens:
    """Makes and reads tokens.

    The visitor is part of the signing key: a token does not contain the visitor, and is invalid for any other.

    Args:
        secret: signs the tokens; the same in every process. Of several, the last signs; all are accepted.
        expires: seconds that a token is valid.

    Raises:
        MissingSecret: the secret is empty.
    """

    def __init__(self, secret: "str | bytes | Sequence[str | bytes] | None", expires: int = DAY_SECONDS) -> None:
        given = [secret] if isinstance(secret, str | bytes) else list(secret or ())
        self._secrets = [each.encode() if isinstance(each, str) else each for each in given]
        self._expires = expires
        if not self._secrets or not all(self._secrets):
            raise MissingSecret.here()

    def make(self, task_id: str, visitor: str) -> str:
        """Return a token, fit for a URL, with which ``visitor`` may watch a task."""
        return str(self._signer(visitor).dumps(task_id))

    def task_id(self, token: str, visitor: str | None) -> str:
        """Return the id of the task that ``visitor`` may watch with a token.

        Raises:
            BadTaskToken: the token was not made with this secret, or was made for another visitor.
            ExpiredTaskToken: the token was made for this visitor and has expired.
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
        # Hashed to a fixed length: no visitor's name can be read as the salt of another purpose.
        salt = f"{PURPOSE}.{sha256(visitor.encode('utf-8', 'surrogatepass')).hexdigest()}"
        options = {"key_derivation": "hmac", "digest_method": sha256}
        return URLSafeTimedSerializer(self._secrets, salt=salt, signer_kwargs=options)

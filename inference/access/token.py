"""The text of an API key: `pst_<id>_<secret>`. The id is public; of the secret only a hash is kept."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field

from inference.errors import InvalidField

PREFIX = "pst"
SECRET_BYTES = 32
ID_BYTES = 6

_FORM = re.compile(r"pst_([0-9a-f]{12})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is shown once and kept nowhere; `digest` is what a store keeps."""

    id: str
    text: str = field(repr=False)
    digest: bytes = field(repr=False)


def make(key_id: str | None = None) -> Token:
    """A fresh token with 256 random bits; of an existing key, when its id is given."""
    key_id = key_id or secrets.token_hex(ID_BYTES)
    text = f"{PREFIX}_{key_id}_{secrets.token_hex(SECRET_BYTES)}"
    return Token(key_id, text, digest(text))


def of(text: str) -> Token:
    """The token of a text that was chosen elsewhere, in our form. Raises InvalidField."""
    key_id = id_of(text)
    if key_id is None:
        raise InvalidField("A key is `pst_`, 12 hex digits, `_` and 64 hex digits.", field="key")
    return Token(key_id, text, digest(text))


def digest(text: str) -> bytes:
    """SHA-256 of the whole text. A random secret of 256 bits needs no slow hash: there is nothing to guess."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def id_of(text: str) -> str | None:
    """The public part of a well-formed key; for logs."""
    found = _FORM.fullmatch(text)
    return found[1] if found else None

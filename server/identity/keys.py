"""What an API key looks like: ``cv_live_…`` or ``cv_test_…``, 256 random bits, and a checksum. Pure but for chance.

The checksum tells a mistyped or invented key from a real one without a question to the database; it is no secret. Only
the SHA-256 of a key is ever kept: with 256 random bits there is nothing to guess, so a slow hash would add nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import Final, Literal

Environment = Literal["live", "test"]

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_CHARS: Final = 43
"""Of 62 letters: 256 bits."""
CHECK_CHARS: Final = 6
_FORM: Final = re.compile(rf"cv_(live|test)_[0-9A-Za-z]{{{SECRET_CHARS + CHECK_CHARS}}}")
_HINT_CHARS: Final = 4


def new_key(environment: Environment) -> str:
    """A key that nobody has."""
    body = f"cv_{environment}_" + "".join(secrets.choice(ALPHABET) for _ in range(SECRET_CHARS))
    return body + _checksum(body)


def claims_to_be_key(presented: str) -> bool:
    """Whether somebody means this as one of our keys."""
    return presented.startswith("cv_")


def is_well_formed(presented: str) -> bool:
    """Whether it could be a key: of the right form, its checksum fitting."""
    return _FORM.fullmatch(presented) is not None and _checksum(presented[:-CHECK_CHARS]) == presented[-CHECK_CHARS:]


def digest_of(presented: str) -> str:
    """What is kept of a key: its SHA-256, in hexadecimal."""
    return hashlib.sha256(presented.encode()).hexdigest()


def hint_of(key: str) -> str:
    """What people may be shown to tell their keys apart: its kind and last letters."""
    return f"{key[:8]}…{key[-_HINT_CHARS:]}"


def _checksum(body: str) -> str:
    number, letters = zlib.crc32(body.encode()), ""
    for _ in range(CHECK_CHARS):
        number, index = divmod(number, len(ALPHABET))
        letters = ALPHABET[index] + letters
    return letters

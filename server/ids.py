"""Fresh, unguessable ids."""

from __future__ import annotations

import uuid


def new_id(prefix: str) -> str:
    """A fresh, unguessable id such as ``req_4f…``."""
    return f"{prefix}_{uuid.uuid4().hex}"

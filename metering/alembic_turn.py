"""Whose turn it is to migrate, in this process: Alembic keeps what it is at in one place for all threads.

(https://alembic.sqlalchemy.org/en/latest/api/runtime.html: ``alembic.context`` is a proxy of the one environment that
runs.) Taken by whatever runs migrations; between processes a lock in the database decides.
"""

from __future__ import annotations

import threading
from typing import Final

ALEMBIC_TURN: Final = threading.Lock()

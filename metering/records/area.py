"""One kind of records: a name, and where its migrations are.

Areas know nothing of each other: each has a branch of its own in Alembic's history, whose first revision names the
area as its branch label and ``None`` as its ``down_revision``. A released migration never changes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Area:
    """``package`` is an importable package with the migrations, ``head`` the newest revision in it.

    Revisions are named ``<area>_0001`` and so on; a test holds ``head`` and the package together.
    """

    name: str
    package: str
    head: str

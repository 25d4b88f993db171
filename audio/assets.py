"""Finds weights that travel inside installed packages, without importing the packages.

Importing is avoided on purpose: it is slow, may start threads, and some of these packages are used for their
weights alone. Driven by the embedded engines when they load.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from audio.errors import EngineUnavailable, Stage


def packaged_file(package: str, relative: str, *, stage: Stage, provider: str) -> Path:
    """The path of a file (or directory) inside an installed top-level package.

    Raises:
        EngineUnavailable: the package is not installed, or does not contain it.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EngineUnavailable(f"package {package!r} is not installed", stage=stage, provider=provider)
    for location in spec.submodule_search_locations:
        path = Path(location) / relative
        if path.exists():
            return path
    raise EngineUnavailable(f"package {package!r} has no {relative}", stage=stage, provider=provider)

"""A whole number divided in proportion, exactly: the parts always add up to it. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def apportion(total: int, weights: Mapping[K, int]) -> dict[K, int]:
    """``total`` divided by weight (largest remainder method); ties go to whoever stands first.

    Raises ValueError where nobody weighs anything and there is something to divide.
    """
    whole = sum(weights.values())
    if whole <= 0:
        if total:
            raise ValueError("nobody to divide among")
        return {}
    parts = {name: total * weight // whole for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: -(total * weights[name] % whole))
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return {name: part for name, part in parts.items() if part}

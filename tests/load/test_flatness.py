"""A soak's judge: what leaks is seen, what is noise is not."""

from __future__ import annotations

import numpy as np
import pytest
from flatness import growth

HOURS = np.arange(240) * 5 / 3_600
MOST = 12.0


def noise(mib: float) -> np.ndarray:
    return np.random.default_rng(7).normal(0, mib, len(HOURS))


def test_a_leak_is_seen_through_noise() -> None:
    leak = growth(HOURS.tolist(), (400 + 30 * HOURS + noise(2)).tolist())
    assert leak.slope == pytest.approx(30, abs=5)
    assert leak.rise == pytest.approx(30 * leak.between_hours, abs=2)
    assert not leak.is_flat(MOST)


@pytest.mark.parametrize("where", [slice(-2, None), slice(0, 3), slice(-20, None), slice(100, 112)])
def test_a_burst_is_no_leak(where: slice) -> None:
    values = 400 + noise(1)
    values[where] += 80
    assert growth(HOURS.tolist(), values.tolist()).is_flat(MOST)


def test_a_line_through_all_samples_would_have_called_the_last_burst_a_leak() -> None:
    values = 400 + noise(1)
    values[-20:] += 80
    assert np.polyfit(HOURS, values, 1)[0] > MOST
    assert growth(HOURS.tolist(), values.tolist()).slope < MOST


def test_what_shrinks_is_flat() -> None:
    assert growth(HOURS.tolist(), (400 - 50 * HOURS).tolist()).is_flat(MOST)


def test_a_few_samples_show_nothing() -> None:
    with pytest.raises(ValueError, match="3 samples"):
        growth([0, 1, 2], [1, 2, 3])

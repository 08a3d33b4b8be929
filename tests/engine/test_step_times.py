"""Corrections of calibrated step times: by size, and together where a size has not run for a while."""

from __future__ import annotations

import pytest

from specdec.drafting.step_times import OUTLIER, StepTimes


def test_sizes_are_corrected_apart() -> None:
    times = StepTimes()
    for _ in range(200):
        times.observe(1, 1.0)
        times.observe(3, 1.3)
    assert times.ratio(1) == pytest.approx(1.0, abs=0.02)
    assert times.ratio(3) == times.ratio(4) == pytest.approx(1.3, abs=0.02)
    assert 1.0 < times.ratio(16) < 1.3


def test_a_size_that_no_longer_runs_follows_the_others() -> None:
    times = StepTimes()
    for _ in range(20):
        times.observe(1, 0.8)
    for _ in range(400):
        times.observe(2, 1.4)
    assert times.ratio(1) == pytest.approx(1.4, abs=0.02)


def test_one_outlier_moves_little_and_a_lasting_change_is_followed() -> None:
    times = StepTimes()
    for _ in range(50):
        times.observe(1, 1.0)
    times.observe(1, 40.0)
    assert times.ratio(1) < 1 + (OUTLIER - 1) / 5
    for _ in range(100):
        times.observe(1, 5.0)
    assert times.ratio(1) == pytest.approx(5.0, rel=0.02)

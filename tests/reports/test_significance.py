"""Whether groups differ by more than chance, against scipy's own tests."""

import numpy as np
import pytest
from scipy import stats

from plt_nn.reports.significance import differences, holm


def group(values: list[float], first_seed: int = 0) -> dict[str, float]:
    return {str(first_seed + at): value for at, value in enumerate(values)}


def test_other_seeds_are_compared_by_welch() -> None:
    a, b = [0.91, 0.93, 0.92, 0.95], [0.88, 0.86, 0.90]
    (pair,) = differences({"a": group(a), "b": group(b, 10)}, "max")
    known = stats.ttest_ind(a, b, equal_var=False)
    interval = known.confidence_interval(0.95)
    assert not pair.is_paired
    assert (pair.first, pair.second, pair.counts) == ("a", "b", (4, 3))
    assert (pair.low, pair.high, pair.p) == pytest.approx((interval.low, interval.high, known.pvalue), rel=1e-9)
    assert "a is better than b" in pair.sentence()
    assert "n = 4 and 3" in pair.sentence()


def test_the_same_seeds_are_paired_whatever_their_order() -> None:
    a = {"0": 0.5, "1": 0.7, "2": 0.9}
    b = {"2": 0.88, "0": 0.47, "1": 0.69}
    (pair,) = differences({"a": a, "b": b}, "max")
    assert pair.is_paired
    assert pair.p == pytest.approx(stats.ttest_rel([0.5, 0.7, 0.9], [0.47, 0.69, 0.88]).pvalue, rel=1e-9)


def test_data_that_cannot_tell_says_so() -> None:
    (pair,) = differences({"a": group([0.1, 0.5, 0.9]), "b": group([0.2, 0.4, 0.8], 5)}, "min")
    assert not pair.is_clear
    assert pair.sentence().startswith("The data cannot tell")


def test_two_runs_a_side_are_too_few() -> None:
    assert differences({"a": group([1.0, 2.0]), "b": group([3.0, 4.0, 5.0])}, "min") == []


def test_runs_that_are_bit_for_bit_the_same_are_not_different() -> None:
    (pair,) = differences({"a": group([0.5, 0.5, 0.5]), "b": group([0.5, 0.5, 0.5])}, "min")
    assert (pair.p, pair.difference) == (1.0, 0.0)


def test_holm_corrects_for_the_number_of_pairs() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x 0.01; 2 x 0.03; no less than before
    rng = np.random.default_rng(0)
    groups = {
        name: group(rng.normal(mean, 1, 5).tolist(), 10 * at)
        for at, (name, mean) in enumerate(zip("abc", (0, 0, 9), strict=True))
    }
    found = differences(groups, "min")
    assert [pair.pairs for pair in found] == [3, 3, 3]
    assert [pair.is_clear for pair in found] == [True, True, False]

import numpy as np
import pytest

from plt_nn.audit import label_issues as module
from plt_nn.audit.label_issues import out_of_fold


def test_parts_tell_as_much_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 600)
    features = draw.normal(size=(600, 8)) + 2 * np.eye(3, 8)[labels]
    whole = out_of_fold(features, labels, np.arange(600))
    monkeypatch.setattr(module, "MOST_AT_ONCE", 200)
    parts = out_of_fold(features, labels, np.arange(600))
    np.testing.assert_allclose(parts.sum(1), 1)
    right = [(found.argmax(1) == labels).mean() for found in (whole, parts)]
    assert min(right) > 0.8
    assert not np.allclose(whole, parts)


def test_a_copy_is_not_judged_by_its_twin() -> None:
    draw = np.random.default_rng(0)
    features, labels = draw.normal(size=(40, 200)), draw.integers(0, 2, 40)
    twice, of_both = np.concatenate([features, features]), np.concatenate([labels, labels])
    apart = out_of_fold(twice, of_both, np.arange(80))
    together = out_of_fold(twice, of_both, np.concatenate([np.arange(40)] * 2))
    assert (apart.argmax(1) == of_both).mean() > 0.7, "noise is told by the copy that was seen"
    assert (together.argmax(1) == of_both).mean() < 0.7

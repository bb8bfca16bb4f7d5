import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plt_nn.audit.audit import with_features
from plt_nn.audit.tables import NOTHING, as_json, as_markdown, summary_lines
from tests.audit.conftest import Planted, audited, told

Write = Callable[..., Path]


def test_it_is_told_as_plain_values(planted: Planted) -> None:
    told_of = json.loads(as_json(audited(planted.root)))
    assert told_of["classes"] == ["ants", "bees"]
    assert sum(map(sum, told_of["splits"].values())) == 411
    assert {entry["file"] for entry in told_of["unreadable"]} == planted.unreadable
    pairs = {tuple(sorted(file["file"] for file in group["files"])): group for group in told_of["duplicates"]}
    assert all(pairs[tuple(sorted(pair))]["exact"] for pair in planted.exact)
    assert not any(pairs[tuple(sorted(pair))]["exact"] for pair in planted.near)
    assert all(group["across_splits"] and not group["label_conflict"] for group in pairs.values())
    assert told_of["labels_in_doubt"] is None
    assert told_of["findings"][0]["kind"] == "duplicates across splits"
    assert set(told_of["findings"][0]["files"]) == {file for pair in pairs for file in pair}


def test_a_few_lines_for_who_audits_first(planted: Planted) -> None:
    audit = audited(planted.root)
    first, second = summary_lines(audit)
    assert first.startswith("error: 13 of 154 images in val are in train as well (10 byte for byte, 3 in another form)")
    assert second.startswith("warning: 2 images of 413 cannot be read")
    assert summary_lines(audit, most=1) == [first, "... and 1 more."]


def test_nothing_wrong_is_said(tmp_path: Path, noise: Write) -> None:
    for number in range(30):
        noise(tmp_path / ("ant" if number < 15 else "bee") / f"{number}.png", number)
    audit = audited(tmp_path)
    assert audit.findings == ()
    assert summary_lines(audit) == []
    assert as_markdown(audit).endswith(NOTHING)


def test_labels_are_judged_by_features(tmp_path: Path, noise: Write) -> None:
    for number in range(40):
        noise(tmp_path / ("ant" if number < 20 else "bee") / f"{number:02}.png", number)
    audit = audited(tmp_path, val=0.0)
    features = np.random.default_rng(0).normal(size=(40, 6))
    features[:, 0] += np.where(np.isin(np.arange(40), [*range(1, 20), 39]), 8, 0)  # 0 and 39 are in the wrong folder
    audit = with_features(audit, features, "a net")
    (finding,) = [finding for finding in audit.findings if finding.kind == "labels in doubt"]
    assert {audit.name(row) for row in finding.rows} == {"ant/00.png", "bee/39.png"}
    doubted = audit.as_dict()["labels_in_doubt"]
    assert doubted["flagged"] == 2
    assert len(doubted["ranked"]) == 4, "a tenth at least"
    assert {entry["file"]: entry["proposed"] for entry in doubted["ranked"][:2]} == {
        "ant/00.png": "bee",
        "bee/39.png": "ant",
    }
    assert "rather bee?" in as_markdown(audit)
    with pytest.raises(ValueError, match="features of 39 images; expected them of the 40"):
        with_features(audit, features[:-1], "a net")


def test_labels_that_features_do_not_tell_are_not_accused(tmp_path: Path, noise: Write) -> None:
    for number in range(40):
        noise(tmp_path / ("ant" if number % 2 else "bee") / f"{number}.png", number)
    audit = with_features(audited(tmp_path), np.random.default_rng(0).normal(size=(40, 6)), "noise")
    (sentence,) = told(audit, "labels in doubt")
    assert sentence.startswith("note: Labels could not be judged")

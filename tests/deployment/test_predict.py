from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from plt_nn.deployment.paths import image_paths
from plt_nn.deployment.predict import PredictedParts, about, predict_images
from plt_nn.errors import ConfigError
from plt_nn.inference.predictor import load_predictor
from tests.deployment.conftest import Fitted

Call = Callable[..., tuple[int, str, str]]


def test_the_order_is_the_one_given_and_bad_images_are_told(in_copy: Fitted, call: Call) -> None:
    whole = in_copy.val[0].read_bytes()
    Path("broken.png").write_bytes(whole[: len(whole) // 2])
    names = [in_copy.val[9], "broken.png", in_copy.val[2], "gone.png", "photos/val/light", "photos/val/dark/0[12].png"]
    status, out, err = call("predict", "--model", in_copy.uid, *names, "--out", "p.csv", "--batch-size", 4)
    assert status == 0, err
    table = pd.read_csv("p.csv")
    light, dark = [f"photos/val/light/{n:02}.png" for n in range(7)], [f"photos/val/dark/{n:02}.png" for n in (1, 2)]
    assert list(table["path"]) == [str(name) for name in names[:4]] + light + dark
    assert list(table["error"].notna()) == [False, True, False, True] + [False] * 9
    assert table["label"].isna().sum() == 2
    assert "broken.png: " in err
    assert "gone.png: [Errno 2] No such file" in err
    assert "of which 2 could not be read" in out
    assert call("predict", "--model", in_copy.uid, "broken.png", "--out", "q.csv")[0] == 1


def test_every_name_of_a_model_gives_the_same(in_copy: Fitted, call: Call) -> None:
    assert call("register", "last", "--name", "shades")[0] == 0
    folder = in_copy.store.checkpoints / "photos" / in_copy.uid
    tables = []
    names = (in_copy.uid, "last", "models:/shades@champion", "models:/shades/1", "best-of:photos", folder)
    for number, name in enumerate(names):
        status, _, err = call("predict", "--model", name, "photos/val", "--out", f"{number}.parquet")
        assert status == 0, err
        tables.append(pd.read_parquet(f"{number}.parquet"))
    assert len(tables[0]) == len(in_copy.val)
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--model", "nothing", "a.png"], "There is no model 'nothing'"),
        (["--model", "models:/shads@champion", "a.png"], "There is no models:/shads@champion"),
        (["--model", "best-of:photo", "a.png"], "Did you mean 'photos'"),
        (["--model", "photos", "a.png"], "photos is no model that stands alone"),
        (["--model", "last", "photo"], "There is no photo"),
        (["--model", "last", "*.webp"], "Nothing fits the pattern"),
        (["--model", "last", "photos", "--out", "p.xlsx"], "ends in .csv or .parquet"),
        (["--model", "last", "photos", "--out", "no/p.csv"], "there is no folder"),
        (["--model", "last", "photos", "--out", "photos.yaml"], "ends in .csv"),
        (["--model", "last", "photos", "--device", "cuda"], "no GPU"),
    ],
)
def test_mistakes_are_told(words: list[str], reason: str, in_copy: Fitted, call: Call) -> None:
    status, _, err = call("predict", *words)
    assert status == 2
    assert reason in err
    assert not Path("predictions.csv").exists()


def test_a_file_that_is_there_is_not_replaced_unasked(in_copy: Fitted, call: Call) -> None:
    Path("p.csv").write_text("mine")
    assert "--overwrite" in call("predict", "--model", "last", "photos/val", "--out", "p.csv")[2]
    assert Path("p.csv").read_text() == "mine"
    assert call("predict", "--model", "last", "photos/val", "--out", "p.csv", "--overwrite")[0] == 0
    assert len(pd.read_csv("p.csv")) == 14


def test_what_was_cut_short_goes_on(in_copy: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = in_copy.store.checkpoints / "photos" / in_copy.uid / "checkpoints"
    predictor, paths = load_predictor(folder), image_paths(["photos/val"])
    parts = PredictedParts(Path("a.csv"), about(folder, paths, 4))
    parts.add(predict_images(predictor, paths, 4, 0, print))
    whole = parts.finish()
    monkeypatch.setattr("plt_nn.deployment.predict._ROWS", 4)
    seen: list[int] = []

    def stop_in_the_third(rows: int) -> None:
        seen.append(rows)
        if len(seen) == 3:
            raise KeyboardInterrupt

    parts = PredictedParts(Path("b.csv"), about(folder, paths, 4))
    with pytest.raises(KeyboardInterrupt):
        parts.add(predict_images(predictor, paths, 4, 0, stop_in_the_third))
    assert not Path("b.csv").exists()
    with pytest.raises(ConfigError, match="parts of other predictions"):
        PredictedParts(Path("b.csv"), about(folder, paths[1:], 4))
    parts = PredictedParts(Path("b.csv"), about(folder, paths, 4))
    assert parts.done() == 8
    counted: list[int] = []
    parts.add(predict_images(predictor, paths[8:], 4, 0, counted.append))
    assert counted == [4, 2]
    pd.testing.assert_frame_equal(parts.finish(), whole)
    assert Path("b.csv").read_text() == Path("a.csv").read_text()
    assert not Path("b.csv.parts").exists()


def test_workers_change_nothing(in_copy: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plt_nn.deployment.predict.FEW", 0)
    folder = in_copy.store.checkpoints / "photos" / in_copy.uid / "checkpoints"
    predictor, paths = load_predictor(folder), image_paths(["photos/val"])
    alone, helped = (pd.concat(predict_images(predictor, paths, 4, workers, print)) for workers in (0, 2))
    pd.testing.assert_frame_equal(helped, alone)


def test_a_table_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.png").touch()
    pd.DataFrame({"shot": ["b.png", "c.png", ""], "n": [1, 2, 3]}).to_csv("in/list.csv", index=False)
    assert image_paths(["in/list.csv"], "shot") == ["in/b.png", "c.png", ""]
    with pytest.raises(ConfigError, match=r"no column 'shots'.*Did you mean 'shot'"):
        image_paths(["in/list.csv"], "shots")
    with pytest.raises(ConfigError, match=r"no column 'path'.*Its columns: shot, n"):
        image_paths(["in/list.csv"])

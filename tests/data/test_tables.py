from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plt_nn.data.tables import choose_columns, read_table, table_faults
from plt_nn.errors import DataError
from plt_nn.inference.table_encoding import fit_encoder


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def csv(text: str) -> Path:
        (tmp_path / "table.csv").write_text(text)
        return tmp_path / "table.csv"

    return csv


def faults(
    frame: pd.DataFrame,
    numeric: list[str] | None = None,
    categorical: list[str] | None = None,
    target: str = "y",
    regression: bool = False,
    mean: bool = False,
) -> list[str]:
    columns = choose_columns(frame, target, numeric, categorical)
    return table_faults(frame, columns, "regression" if regression else "classification", "mean" if mean else "error")


GOOD = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [True, False, True], "c": ["x", "y", "x"], "y": [0, 1, 0]})


def test_a_good_table_has_no_faults() -> None:
    assert faults(GOOD, categorical=["c"]) == []
    assert faults(GOOD, numeric=["a"]) == []


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_csv_and_parquet_are_read_alike(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{suffix}"
    if suffix == ".parquet":
        GOOD.to_parquet(path)
    else:
        GOOD.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_table(path), GOOD)


def test_a_missing_file_suggests_its_neighbours(write: Callable[[str], Path]) -> None:
    path = write("a,y\n1,2\n")
    with pytest.raises(DataError, match=r"There is no file .*/tabel\.csv\. Did you mean 'table\.csv'\?"):
        read_table(path.with_name("tabel.csv"))


@pytest.mark.parametrize(
    ("content", "reason"), [("", "cannot be read as a CSV or Parquet table"), ("a,y\n", "holds no rows")]
)
def test_an_empty_file_is_refused(content: str, reason: str, write: Callable[[str], Path]) -> None:
    with pytest.raises(DataError, match=reason):
        read_table(write(content))


def test_a_parquet_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("words")
    with pytest.raises(DataError, match="cannot be read as a CSV or Parquet table"):
        read_table(tmp_path / "a.parquet")


def test_unknown_columns_are_named_with_the_nearest() -> None:
    frame = pd.DataFrame({"height": [1, 2], "weight": [3, 4], "label": [0, 1]})
    assert faults(frame, numeric=["heigth"], categorical=["hue"], target="labels") == [
        "there is no column 'labels'. Did you mean 'label'?",
        "there is no column 'heigth'. Did you mean 'height' or 'weight'?",
        "there is no column 'hue'. Valid: height, weight, label.",
    ]


def test_another_separator_is_recognised(write: Callable[[str], Path]) -> None:
    absent, separator = faults(read_table(write("a;y\n1;2\n")))
    assert absent.startswith("there is no column 'y'.")
    assert separator == (
        "it has a single column, 'a;y'; its values are probably not separated by commas. Save it with commas."
    )


def test_a_column_has_one_part() -> None:
    assert "'c', 'y' are named more than once" in faults(GOOD, numeric=["c", "y"], categorical=["c"])[0]


def test_nothing_to_predict_from() -> None:
    assert faults(GOOD[["y"]]) == ["there is no column to predict 'y' from."]


def test_a_text_column_is_named_with_its_values() -> None:
    assert faults(GOOD) == [
        "column 'c' is text, with 2 distinct values: 'x', 'y'."
        " Name it in `categorical`, or choose the columns to use with `numeric`."
    ]


def test_stray_text_among_numbers_is_shown() -> None:
    frame = pd.DataFrame({"a": ["1", "2", "?", "4", "5"], "y": [0, 1, 0, 1, 0]})
    assert faults(frame) == ["column 'a' has text among its numbers, in 1 rows: '?'. Mend or empty them."]


def test_missing_values_are_counted_by_column(write: Callable[[str], Path]) -> None:
    frame = read_table(write("a,b,c,y\n1,,x,0\n,,y,1\n3,4,,0\n"))
    (fault,) = faults(frame, categorical=["c"])
    assert fault.startswith("missing values: 'a' 1, 'b' 2, 'c' 1 (of 3 rows).")
    assert "`missing: mean`" in fault
    assert faults(frame, categorical=["c"], mean=True) == []
    assert faults(frame, numeric=["y"], target="a", mean=True) == ["the target 'a' is missing in 1 rows. Remove them."]


def test_infinite_values_are_named() -> None:
    assert faults(GOOD.assign(a=[1.0, np.inf, 2.0]), categorical=["c"]) == [
        "infinite values in column(s) 'a'. Mend or empty these cells."
    ]


def test_unfit_targets() -> None:
    assert "the target 'y' is 3 in every row: nothing can be learnt." in faults(GOOD.assign(y=3), ["a"])
    assert "Set `task: classification`" in faults(GOOD, ["a"], target="c", regression=True)[0]
    assert "has fractions, so it is no class. Set `task: regression`." in faults(GOOD.assign(y=GOOD.a / 3), ["a"])[0]


def test_all_faults_are_told_at_once() -> None:
    frame = pd.DataFrame({"a": [1.0, None], "c": ["u", "v"], "y": [1, 1]})
    assert len(faults(frame)) == 3


def test_encoding_is_learnt_from_the_training_rows() -> None:
    train = pd.DataFrame({"a": [1.0, 3.0, None], "flat": [2, 2, 2], "c": ["x", "z", None]})
    encoder = fit_encoder(train, ["a", "flat"], ["c"])
    assert encoder.feature_names == ["a", "flat", "c=x", "c=z"]
    assert encoder.encode(train).tolist() == [[-1, 0, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]]
    unseen = pd.DataFrame({"c": ["new", "z"], "flat": [5, 2], "a": [5.0, None], "more": [0, 0]})
    assert encoder.encode(unseen).tolist() == [[3, 3, 0, 0], [0, 0, 0, 1]]


def test_nullable_numbers_and_numeric_categories_are_encoded() -> None:
    train = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "c": [10, 2, 10]})
    assert fit_encoder(train, ["a"], ["c"]).encode(train).tolist() == [[-1, 1, 0], [0, 0, 1], [1, 1, 0]]
    assert fit_encoder(train, [], ["c"]).feature_names == ["c=10", "c=2"]


def test_a_column_without_any_training_value_is_zero() -> None:
    encoder = fit_encoder(pd.DataFrame({"a": [None, None]}, dtype="float64"), ["a"], [])
    assert encoder.encode(pd.DataFrame({"a": [None, 5.0]})).tolist() == [[0], [5]]

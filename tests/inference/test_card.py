import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from plt_nn.errors import DataError, WeightsError
from plt_nn.inference.card import ModelCard, read_card
from plt_nn.inference.inputs import TableInputs, TensorInputs
from plt_nn.inference.table_encoding import fit_encoder

ROWS = pd.DataFrame({"length": [1.0, 3.0], "colour": ["red", "blue"]})
TABLE = TableInputs(fit_encoder(ROWS, ["length"], ["colour"]))


@pytest.mark.parametrize("inputs", [None, TABLE, TensorInputs((3, 8, 8))])
def test_a_card_is_read_as_it_was_written(card: ModelCard, inputs: TableInputs | TensorInputs | None) -> None:
    card = card if inputs is None else replace(card, inputs=inputs)
    assert ModelCard.from_json(card.to_json()) == card


def test_a_card_of_a_later_format_asks_for_an_update(card: ModelCard) -> None:
    later = json.dumps(json.loads(card.to_json()) | {"format": 2})
    with pytest.raises(WeightsError, match=r"format 2; this plt_nn reads 1. Update plt_nn"):
        ModelCard.from_json(later)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "\x00"])
def test_what_is_no_card_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(WeightsError, match="does not describe a model"):
        read_card(tmp_path)


def test_a_folder_without_a_card_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"plt_nn.not_deployable"):
        read_card(tmp_path)


def test_rows_are_encoded_as_in_training() -> None:
    assert TABLE.batch(ROWS[["colour", "length"]]).tolist() == [[-1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    with pytest.raises(DataError, match=r"there is no column 'colour'"):
        TABLE.batch(ROWS[["length"]])
    with pytest.raises(DataError, match=r"column 'length' has missing values"):
        TABLE.batch(ROWS.assign(length=[1.0, float("nan")]))
    with pytest.raises(DataError, match="no numbers where numbers are expected"):
        TABLE.batch(ROWS.assign(length=["a", "b"]))


def test_tensors_must_have_the_shape_of_training() -> None:
    with pytest.raises(DataError, match=r"shape \(2, 3\); expected \(N, 4\)"):
        TensorInputs((4,)).batch([[1, 2, 3], [4, 5, 6]])
    with pytest.raises(DataError, match="Expected numbers"):
        TensorInputs((4,)).batch([["a"]])

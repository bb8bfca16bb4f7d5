"""Nested configuration as flat parameters, with secrets masked."""

from typing import Any

import pytest

from plt_nn.tracking import masked
from plt_nn.tracking.masking import flat_params, masked_code


def test_nested_values_get_dotted_names() -> None:
    nested: dict[Any, Any] = {
        "model": {"net": {"depth": 3}, "tags": ["a", "b"]},
        "callbacks": [{"patience": 2}, None],
        7: True,
    }
    assert flat_params(nested) == {
        "model.net.depth": "3",
        "model.tags": "['a', 'b']",
        "callbacks.0.patience": "2",
        "callbacks.1": "None",
        "7": "True",
    }


SECRETS = ["token", "password", "api_key", "apikey", "API_KEY", "api-key", "hf_token", "client_secret", "db.password"]


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_is_masked_wherever_it_stands(key: str) -> None:
    for values in ({key: "hunter2"}, {"logger": {key: "hunter2"}}, {"a": [{"b": {key: "hunter2"}}]}):
        assert "hunter2" not in str(flat_params(values))
        assert "hunter2" not in str(masked(values))
    assert "hunter2" not in str(masked({key: {"value": "hunter2"}}))
    assert "hunter2" not in str(flat_params({key: {"value": "hunter2"}}))


def test_a_password_in_an_address_is_masked() -> None:
    values = {"logger": {"tracking_uri": "https://me:hunter2@mlflow.example/path"}}
    assert "hunter2" not in str(masked(values))
    assert "hunter2" not in str(flat_params(values))
    assert "mlflow.example/path" in str(masked(values))


@pytest.mark.parametrize(
    "values",
    [
        {"num_tokens": 3, "tokenizer": "bpe", "keys": ["a"]},
        {"token": None, "password": ""},
        {"model_args": {"class_token": True}},  # an argument of timm's vision transformers
    ],
)
def test_what_is_no_secret_is_left_alone(values: dict[str, Any]) -> None:
    assert masked(values) == values


def test_masking_leaves_the_original_alone() -> None:
    values = {"a": [{"token": "hunter2"}]}
    masked(values)
    assert values == {"a": [{"token": "hunter2"}]}


@pytest.mark.parametrize(
    ("line", "masked_line"),
    [
        ("token: hunter2", "token: ***"),
        ('+    api_key = "hunter2"', '+    api_key = "***"'),
        ("-HF_TOKEN=hunter2", "-HF_TOKEN=***"),
        ('"password": "hunter2",', '"password": "***",'),
        ("url: https://me:hunter2@example.org/x", "url: https://***@example.org/x"),
        ("tokens = 7", "tokens = 7"),
        ("def tokenize(text): return text", "def tokenize(text): return text"),
    ],
)
def test_secrets_in_code_are_masked(line: str, masked_line: str) -> None:
    assert masked_code(line) == masked_line

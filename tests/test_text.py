"""Small pieces of text."""

import json

import pytest

from plt_nn.text import and_more, byte_size, counted, duration, first_line, json_text, one_line, quoted


def test_a_list_is_cut_short_and_says_so() -> None:
    assert and_more(["a", "b"]) == "a, b"
    assert and_more("abcdefg", most=3) == "a, b, c and 4 more"
    assert quoted(["a", "b", "c"], most=2) == "'a', 'b' and 1 more"


def test_nouns_are_counted() -> None:
    assert [counted(n, "image") for n in (0, 1, 2, 1024)] == ["0 images", "1 image", "2 images", "1,024 images"]
    assert counted(2, "class", "classes") == "2 classes"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (4.2, "4.2 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (725, "12 min 5 s"), (12_000, "3 h 20 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_long_duration_is_in_days() -> None:
    assert duration(2 * 86_400 + 4 * 3_600 + 59) == "2 d 4 h"


def test_sizes() -> None:
    assert [byte_size(n) for n in (812, 4_100, 12_000_000, 3e9)] == ["812 B", "4.1 KB", "12 MB", "3.0 GB"]


def test_an_error_in_a_line() -> None:
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
    assert one_line(ValueError("one\n  two "), most=6) == "one tw"
    assert one_line(ValueError()) == "ValueError"


def test_json_has_no_number_that_is_not_finite() -> None:
    value = {"a": [1.5, float("nan"), {"b": float("-inf")}], "c": (float("inf"), 2)}
    assert json.loads(json_text(value)) == {"a": [1.5, None, {"b": None}], "c": [None, 2]}
    assert json_text([1], indent=None) == "[1]"

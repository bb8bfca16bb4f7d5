"""The exceptions, and the suggestion of the nearest valid names."""

import pickle

import pytest

from plt_nn.errors import ConfigError, DataError, PltNNError, TrainingError, WeightsError, did_you_mean, refuse

FRUITS = ["apple", "apricot", "banana", "cherry"]
MANY = [f"timm/net{number}" for number in range(50)]


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [(ConfigError, ValueError), (DataError, ValueError), (WeightsError, ValueError), (TrainingError, RuntimeError)],
)
def test_every_error_is_ours_and_a_builtin_one(kind: type[PltNNError], builtin: type[Exception]) -> None:
    assert issubclass(kind, PltNNError)
    assert issubclass(kind, builtin)
    assert str(kind("a text")) == "a text"


def test_the_nearest_names_the_best_first() -> None:
    assert did_you_mean("aple", FRUITS) == " Did you mean 'apple'?"
    assert did_you_mean("net", ["nets", "netz", "nest", "neat"], most=2) == " Did you mean 'netz' or 'nets'?"


def test_the_last_part_of_a_long_name_is_enough() -> None:
    assert did_you_mean("resnet18", ["timm/resnet18", *MANY]) == " Did you mean 'timm/resnet18'?"
    assert did_you_mean("MPL", ["a.long.path.to.MLP", *MANY]) == " Did you mean 'a.long.path.to.MLP'?"


def test_all_names_when_they_are_few_and_none_is_near() -> None:
    assert did_you_mean("zzz", FRUITS) == " Valid: apple, apricot, banana, cherry."


def test_nothing_when_there_are_too_many_or_none() -> None:
    assert did_you_mean("zzz", MANY) == ""
    assert did_you_mean("zzz", []) == ""


def test_a_name_given_twice_is_told_once() -> None:
    assert did_you_mean("zzz", ["a", "b", "a"]) == " Valid: a, b."


def test_capitals_do_not_hide_what_is_meant() -> None:
    assert did_you_mean("RELU", ["ReLU", "GELU", *MANY]).startswith(" Did you mean 'ReLU'")


def test_refuse_lists_every_fault_and_passes_none() -> None:
    refuse("Net", [])
    with pytest.raises(ConfigError, match=r"(?s)^Net cannot be used:\n  - one\n  - two$") as caught:
        refuse("Net", ["one", "two"])
    assert caught.value.faults == ("one", "two")


def test_refuse_raises_the_class_that_is_asked_for() -> None:
    with pytest.raises(DataError) as caught:
        refuse("The folder photos", ["is empty"], DataError)
    assert pickle.loads(pickle.dumps(caught.value)).faults == ("is empty",), "also from a spawned process"


def test_an_error_of_one_sentence_has_one_fault() -> None:
    assert ConfigError("width is 0").faults == ("width is 0",)
    assert ConfigError().faults == ()

"""The rule of early stopping against a plain reading of its definition."""

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from plt_nn.callbacks.stopping.patience import Mode, Moment, Progress, after_check, is_better, patience_left

VALUES = st.lists(st.floats(-100, 100).map(lambda value: round(value, 1)), min_size=1, max_size=30)


@given(values=VALUES, mode=st.sampled_from(["min", "max"]), min_delta=st.sampled_from([0.0, 0.5, 10.0]))
def test_the_best_is_the_best_ever_reached_and_where_it_was_first(
    values: list[float], mode: Mode, min_delta: float
) -> None:
    progress = Progress()
    for number, value in enumerate(values):
        progress = after_check(progress, value, Moment(number, 10 * number, number), mode, min_delta)
    best = min(values) if mode == "min" else max(values)
    assert progress.best == best
    assert progress.best_at == Moment(values.index(best), 10 * values.index(best), values.index(best))


@given(values=VALUES, patience=st.integers(1, 5), min_delta=st.sampled_from([0.0, 1.0]))
def test_patience_ends_after_so_many_checks_without_a_gain_above_min_delta(
    values: list[float], patience: int, min_delta: float
) -> None:
    progress, reference, since = Progress(), None, 0
    for number, value in enumerate(values):
        now = Moment(number, number, number)
        progress = after_check(progress, value, now, "min", min_delta)
        if reference is None or value < reference - min_delta:
            reference, since = value, 0
        else:
            since += 1
        assert patience_left(progress, now, patience, "checks") == max(0, patience - since)


def test_patience_counts_the_unit_it_is_told() -> None:
    progress = after_check(Progress(), 1.0, Moment(epochs=2, steps=200, checks=4), "min", 0.0)
    now = Moment(epochs=3, steps=300, checks=6)
    assert patience_left(progress, now, 10, "epochs") == 9
    assert patience_left(progress, now, 150, "steps") == 50
    assert patience_left(progress, now, 2, "checks") == 0
    assert patience_left(Progress(), now, 7, "epochs") == 7


def test_the_same_value_again_is_no_improvement() -> None:
    assert not is_better(1.0, 1.0, "min")
    assert not is_better(1.0, 1.0, "max")
    assert is_better(0.5, 1.0, "min", by=0.4)
    assert not is_better(0.6, 1.0, "min", by=0.4)


def test_progress_survives_being_written_as_plain_values() -> None:
    progress = after_check(Progress(), 0.25, Moment(1, 20, 1), "min", 0.0)
    assert Progress.from_dict(asdict(progress)) == progress
    assert Progress.from_dict(asdict(Progress())) == Progress()

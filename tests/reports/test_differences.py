"""What differs between runs."""

from plt_nn.reports.differences import differing, short_names
from plt_nn.tracking.read.runs import RunRecord


def run(seed: str | None = None, **params: str) -> RunRecord:
    told = {name.replace("__", "."): value for name, value in params.items()}
    return RunRecord("id", "run", "flowers", "FINISHED", 0, params=told, tags={"seed": seed} if seed else {})


def test_only_what_differs_and_matters_is_told() -> None:
    runs = [
        run(optimizer__lr="0.1", net="mlp", trainer__default_root_dir="/a", trainer__logger__init_args__run_name="x"),
        run(optimizer__lr="0.2", net="mlp", trainer__default_root_dir="/b", trainer__logger__init_args__run_name="y"),
    ]
    assert differing(runs) == ["optimizer.lr"]


def test_a_parameter_that_one_run_lacks_differs() -> None:
    assert differing([run(lr="0.1"), run(lr="0.1", momentum="0.9")]) == ["momentum"]


def test_a_seed_that_only_a_tag_tells_counts() -> None:
    assert differing([run("1", lr="1"), run("2", lr="1")]) == ["seed"]
    assert differing([run("1", lr="1"), run("2", lr="1")], by="seed") == []


def test_names_are_as_short_as_they_can_be_told_apart() -> None:
    names = [
        "model.init_args.optimizer.init_args.lr",
        "model.init_args.head.init_args.lr",
        "model.init_args.net.class_path",
    ]
    assert short_names(names) == dict(zip(names, ["optimizer.lr", "head.lr", "net"], strict=True))

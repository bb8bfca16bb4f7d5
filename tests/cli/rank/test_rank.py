"""`plt-nn rank` as a user calls it: real weights on real photographs, and folders of every kind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from mlflow.tracking import MlflowClient
from PIL import Image

from plt_nn import ImageFolderData
from tests import warm
from tests.cli.conftest import Completed, environment
from tests.deliveries import until_all_delivered
from tests.ports import free_port

Call = Callable[..., Completed]
LITE0 = "timm/tf_efficientnet_lite0"
RANDOM = "timm/resnet10t=random"


def drawn(folder: Path, classes: int, each: int, mode: str = "RGB") -> Path:
    """A folder of small images, each class of another brightness."""
    generator = np.random.default_rng(0)
    for number in range(classes):
        (folder / f"class{number:03}").mkdir(parents=True)
        for at in range(each):
            level = 255 * number / max(1, classes - 1)
            pixels = np.clip(generator.normal(level, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / f"class{number:03}" / f"{at}.png")
    return folder


def told(done: Completed) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Ranked(NamedTuple):
    """A call that ranked two nets at two sizes.

    Attributes:
        folder: Where it was called. To be read only.
        found: What it printed as JSON.
        errors: What it printed beside that.
    """

    folder: Path
    found: dict[str, Any]
    errors: str


@pytest.fixture(scope="module")
def ranked(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Ranked:
    folder = tmp_path_factory.mktemp("ranked")
    words = ["--data.root", few, "--backbones", f"{LITE0},{RANDOM}", "--sizes", "64,96", "--format", "json"]
    done = warm.run(["-m", "plt_nn", "rank", *words, "--write", "advice/a.yaml"], cwd=folder, env=environment())
    return Ranked(folder, told(done), done.stderr)


@pytest.mark.photos
def test_pretrained_nets_come_before_random_ones(ranked: Ranked) -> None:
    found = ranked.found
    assert [one["name"] for one in found["candidates"][:2]] == [LITE0, LITE0]
    best = found["candidates"][0]
    assert best["accuracy"] > 0.75
    assert next(iter(best["stages"])) == "stem"
    assert list(best["stages"])[-1] == "last feature"
    assert next(iter(best["depths"])) == "head"
    assert list(best["depths"])[-1] == "all"
    assert found["of_samples"] == 64, "a fifth is held out for validation, and not looked at"
    advice = yaml.safe_load((ranked.folder / "advice" / "a.yaml").read_text())
    assert advice["data"]["init_args"]["image_size"] == found["advice"]["image_size"] == best["image_size"]


@pytest.mark.photos
def test_the_advice_runs(ranked: Ranked, call: Call, here: Path) -> None:
    fit = call("fit", "--config", ranked.folder / "advice" / "a.yaml", "--trainer.max_epochs", "8", "--plain")
    assert fit.returncode == 0, fit.stderr
    until_all_delivered(here / "mlruns")
    summary = json.loads(next(here.glob("mlruns/artifacts/a/**/summary.json")).read_text())
    assert float(summary["val_acc there"]) > 0.6


@pytest.mark.photos
def test_a_ranking_is_a_run_with_a_child_for_each_candidate(ranked: Ranked) -> None:
    assert "plt-nn ui --run" in ranked.errors
    until_all_delivered(ranked.folder / "mlruns")
    client = MlflowClient(f"sqlite:///{ranked.folder}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("rank")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if run.info.run_name == "rank")
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"ranking.md", "ranking.json", "stages.png", "recommended.yaml"} <= names
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.data.params["backbone"] for run in children} == {LITE0, "timm/resnet10t"}
    assert {run.data.metrics["rank"] for run in children} == {1.0, 2.0, 3.0, 4.0}
    assert {run.info.status for run in runs} == {"FINISHED"}


@pytest.mark.photos
def test_it_goes_on_where_it_was_interrupted(few: Path, call: Call, here: Path) -> None:
    words = ["rank", "--data.root", few, "--sizes", "64", "--format", "json"]
    first = told(call(*words, "--backbones", RANDOM))
    both = told(call(*words, "--backbones", f"{RANDOM},timm/resnet14t=random"))
    assert first["images_computed"] == 64
    assert both["images_computed"] == 64, "those of the other net alone"
    text = call(*words[:-2], "--backbones", f"{RANDOM},timm/resnet14t=random")
    assert "Advice" in text.stdout
    again = told(call(*words, "--backbones", f"{RANDOM},timm/resnet14t=random"))
    assert again["images_computed"] == 0, "all features are found"
    assert [one["accuracy"] for one in again["candidates"]] == [one["accuracy"] for one in both["candidates"]]


@pytest.mark.photos
@pytest.mark.slow
def test_plans_are_put_to_the_test(few: Path, call: Call, here: Path) -> None:
    words = ["rank", "--data.root", few, "--backbones", f"{LITE0}=package:efficientnet-lite0", "--sizes", "64"]
    found = told(call(*words, "--verify", "2", "--format", "json"))
    assert len(found["verified"]) == 2
    losses = [one["loss"] for one in found["verified"]]
    assert losses == sorted(losses)
    assert [each.name for each in here.iterdir()] == ["mlruns"], "nothing else is left behind"
    assert found["advice"]["phases"] == found["verified"][0]["phases"]


@pytest.mark.photos
@pytest.mark.multiprocess
@pytest.mark.slow
@pytest.mark.parametrize("machines", [1, 2])
def test_two_processes_say_what_one_says(machines: int, few: Path, ranked: Ranked, tmp_path: Path) -> None:
    words = ["rank", "--data.root", str(few), "--backbones", f"{LITE0},{RANDOM}", "--sizes", "64,96"]
    words += ["--format", "json"]
    one = ranked.found
    ranks = two_ranks([*words, "--store", "two", "--verify", "1"], machines, tmp_path)
    outputs = [rank.communicate(timeout=warm.PATIENCE) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    assert outputs[1][0] == "", "the first one speaks"
    two = json.loads(outputs[0][0])
    assert len(two["verified"]) == 1, "by the first one, for which the other does not wait"
    assert [item["name"] for item in two["candidates"]] == [item["name"] for item in one["candidates"]]
    np.testing.assert_allclose(
        [item["log_loss"] for item in two["candidates"]], [item["log_loss"] for item in one["candidates"]], rtol=1e-3
    )


def two_ranks(words: list[str], machines: int, folder: Path) -> list[warm.Process]:
    """Starts `plt-nn` twice, as torchrun does: on one machine, or on two with nothing in common but an address."""
    plain = {**environment(), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    places = [folder / f"machine{rank % machines}" for rank in (0, 1)]
    for place in places:
        place.mkdir(exist_ok=True)
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank // machines)} for rank in (0, 1)]
    return [
        warm.Process(["-m", "plt_nn", *words], cwd=place, env=plain | own)
        for place, own in zip(places, ranks, strict=True)
    ]


def test_what_cannot_be_loaded_is_listed_and_stops_nothing(call: Call, tmp_path: Path) -> None:
    root = drawn(tmp_path / "shades", 3, 20)
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    words = ["--backbones", f"{RANDOM},timm/resnet18=broken.pth,timm/resnet18=absent.pth", "--sizes", "32"]
    found = told(call("rank", "--data.root", root, *words, "--format", "json"))
    assert [one["name"] for one in found["candidates"]] == ["timm/resnet10t"]
    assert len(found["left_out"]) == 2
    assert "broken.pth" in found["left_out"][0]
    nothing = call("rank", "--data.root", root, "--backbones", "timm/resnet18=absent.pth", "--sizes", "32")
    assert nothing.returncode == 2
    assert "the candidates cannot be used" in nothing.stderr
    assert "absent.pth" in nothing.stderr


def test_time_that_is_over_is_told(call: Call, tmp_path: Path) -> None:
    root = drawn(tmp_path / "shades", 2, 10)
    done = call("rank", "--data.root", root, "--backbones", RANDOM, "--sizes", "32", "--budget", "0s")
    assert done.returncode == 2
    assert "the time was over" in done.stderr


def test_the_advice_is_measured_on_images_that_it_has_not_seen(call: Call, tmp_path: Path) -> None:
    root = drawn(tmp_path / "shades", 2, 20)
    split: dict[str, Any] = {"val_fraction": 0.4, "test_fraction": 0.1, "split_seed": 7}
    words = [word for name, value in split.items() for word in (f"--data.{name}", str(value))]
    told(
        call(
            "rank",
            "--data.root",
            root,
            "--backbones",
            RANDOM,
            "--sizes",
            "32",
            *words,
            "--format",
            "json",
            "--write",
            "advice.yaml",
        )
    )
    data = yaml.safe_load(Path("advice.yaml").read_text())["data"]["init_args"]
    assert {name: data[name] for name in split} == split
    asked, advised = ImageFolderData(root, **split), ImageFolderData(root, **{name: data[name] for name in split})
    for one in (asked, advised):
        one.setup("fit")
    assert advised.paths == asked.paths


@pytest.mark.parametrize(("classes", "each", "mode"), [(100, 2, "RGB"), (2, 12, "L"), (12, 4, "P")])
def test_folders_of_every_kind(classes: int, each: int, mode: str, call: Call, tmp_path: Path) -> None:
    root = drawn(tmp_path / "folder", classes, each, mode)
    words = ["--backbones", RANDOM, "--sizes", "32", "--format", "json", "--data.val_fraction", "0.2"]
    found = told(call("rank", "--data.root", root, *words))
    assert len(found["classes"]) == classes


def test_a_class_of_one_image(call: Call, tmp_path: Path) -> None:
    root = drawn(tmp_path / "folder", 2, 12)
    (root / "lonely").mkdir()
    shutil.copy(next((root / "class000").iterdir()), root / "lonely")
    words = ["rank", "--data.root", root, "--backbones", RANDOM, "--sizes", "32", "--format", "json"]
    refused = call(*words)
    assert refused.returncode == 1
    assert "too few samples of the class(es) 'lonely'" in refused.stderr
    assert len(told(call(*words, "--data.val_fraction", "0"))["classes"]) == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--sizes", "8"], "at least 16"),
        (["--sizes", "big"], "at least 16"),
        (["--budget", "soon"], "no duration"),
        (["--crops", "1.5"], "at most 1"),
        (["--write", "advice.txt"], "ends in .yaml"),
        (["--backbones", "timm/resnet81"], "resnet18"),
        (["--samples", "0"], "at least 1"),
    ],
)
def test_mistakes_are_told(words: list[str], reason: str, call: Call, tmp_path: Path) -> None:
    done = call("rank", "--data.root", drawn(tmp_path / "shades", 2, 4), *words)
    assert done.returncode == 2
    assert reason in done.stderr


def test_a_folder_that_is_not_there(call: Call) -> None:
    done = call("rank", "--data.root", "fotos")
    assert done.returncode == 1
    assert "There is no folder fotos" in done.stderr

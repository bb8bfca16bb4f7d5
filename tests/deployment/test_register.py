from collections.abc import Callable

import pytest
from mlflow.tracking import MlflowClient

from plt_nn.deployment.register import compared
from tests.deployment.conftest import Fitted

Call = Callable[..., tuple[int, str, str]]
TAGS = {"plt_nn.monitor": "val_loss", "plt_nn.mode": "min", "plt_nn.value": "0.5", "plt_nn.data.validation": "a"}


@pytest.mark.parametrize(
    ("changed", "is_worse", "told"),
    [
        ({"plt_nn.value": "0.6"}, True, "On the same validation data it has val_loss 0.5, the new one val_loss 0.6."),
        ({"plt_nn.value": "nan"}, True, "val_loss nan"),
        ({"plt_nn.value": "0.4"}, False, "On the same"),
        ({}, False, "On the same"),
        ({"plt_nn.value": "0.6", "plt_nn.data.validation": "b"}, False, "on different validation data"),
        ({"plt_nn.value": "0.6", "plt_nn.monitor": "val_mae"}, False, "by different metrics"),
    ],
)
def test_what_is_worse_and_what_cannot_be_compared(changed: dict[str, str], is_worse: bool, told: str) -> None:
    found = compared(TAGS, TAGS | changed, "it")
    assert found[0] == is_worse
    assert told in found[1]


def test_higher_is_better_where_the_metric_says_so() -> None:
    tags = TAGS | {"plt_nn.mode": "max"}
    assert compared(tags, tags | {"plt_nn.value": "0.4"}, "it")[0]
    assert not compared(tags, tags | {"plt_nn.value": "0.6"}, "it")[0]
    assert compared({}, TAGS, "it")[0] is False


def test_a_better_champion_is_not_replaced_unless_forced(in_copy: Fitted, call: Call) -> None:
    client = MlflowClient(in_copy.store.uri)
    status, out, err = call("register", in_copy.uid, "--name", "shades")
    assert status == 0, err
    assert "version 1, which is new, is shades@champion" in out
    assert call("register", "last", "--name", "shades")[0] == 0
    assert len(client.search_model_versions("name = 'shades'")) == 1  # no second version
    worse = _another_run(client, in_copy)
    status, _, err = call("register", worse, "--name", "shades")
    assert status == 2
    assert "shades@champion (version 1) has val_loss " in err
    assert "the new one val_loss 9" in err
    assert "--force" in err
    assert len(client.search_model_versions("name = 'shades'")) == 1
    assert call("register", worse, "--name", "shades", "--alias", "other")[0] == 0
    assert "On the same validation data" in call("register", worse, "--name", "shades", "--force")[1]
    assert str(client.get_model_version_by_alias("shades", "champion").version) == "2"
    status, out, err = call("register", "best-of:photos", "--name", "shades")
    assert status == 0, err
    assert out.startswith("version 1 is shades@champion")


def test_a_model_that_does_not_stand_alone_is_not_registered(in_copy: Fitted, call: Call) -> None:
    client = MlflowClient(in_copy.store.uri)
    run = client.create_run("0").info.run_id
    status, _, err = call("register", run, "--name", "shades")
    assert status == 2
    assert "has no model in MLflow" in err
    client.create_logged_model("0", "best", run, {"plt_nn.uid": "x"})
    status, _, err = call("register", run, "--name", "shades")
    assert status == 2
    assert "plt_nn.not_deployable" in err


def _another_run(client: MlflowClient, fitted: Fitted) -> str:
    """A run whose model is that of the fit, but has reached less."""
    (known,) = client.search_logged_models([each.experiment_id for each in client.search_experiments()])
    run = str(client.create_run(known.experiment_id).info.run_id)
    tags = dict(known.tags) | {"plt_nn.value": "9.0", "plt_nn.uid": "another"}
    model = client.create_logged_model(known.experiment_id, "best", run, tags)
    client.log_model_artifacts(model.model_id, known.artifact_location.removeprefix("file://"))
    client.finalize_logged_model(model.model_id, "READY")
    return run

"""The model of a run that two processes have trained, where neither plt_nn nor its data module is."""

import base64
import io
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import LoggedModel
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from PIL import Image

from plt_nn.inference.predictor import load_predictor
from tests import warm
from tests.cli.conftest import environment
from tests.deployment.conftest import Fitted
from tests.ports import free_port

LOAD = """
import importlib.util, json, sys
assert importlib.util.find_spec("plt_nn") is None
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[2]}")
files = json.loads(sys.argv[3])
said = model.predict(pd.DataFrame({"image": [open(file, "rb").read() for file in files]}))
assert said.equals(model.predict(pd.DataFrame({"image": files})))
assert "lightning" not in sys.modules
print(said.to_json(orient="split", double_precision=15))
"""
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def entry(fitted: Fitted) -> LoggedModel:
    client = MlflowClient(fitted.store.uri)
    (experiment,) = [each for each in client.search_experiments() if each.name == "photos"]
    (model,) = client.search_logged_models([experiment.experiment_id])
    return model


@pytest.fixture(scope="module")
def trainers(fitted: Fitted) -> pd.DataFrame:
    """What the trainer itself says of the validation images, on one process."""
    words = ["predict", "--config", "photos.yaml", "--ckpt_path"]
    words += [str(fitted.store.checkpoints / "photos" / fitted.uid / "checkpoints" / "best.safetensors")]
    words += ["--trainer.devices", "1", "--trainer.strategy", "auto"]
    done = warm.run(["-m", "plt_nn", *words], cwd=fitted.folder, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(fitted.folder / "predictions.csv")
    table["file"] = [str(fitted.folder / file) for file in table["file"]]
    return table


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that has all packages but plt_nn."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    packages = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(packages))  # whose own .pth files, of plt_nn too, are not read
    program = folder / "bin" / "uvicorn"
    program.write_text(f"#!{folder}/bin/python\nimport sys\nfrom uvicorn.main import main\nsys.exit(main())\n")
    program.chmod(0o755)
    return folder / "bin"


def _environment(clean: Path, fitted: Fitted) -> dict[str, str]:
    plain = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    ours = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_TRACKING_URI": fitted.store.uri}
    return plain | ours | {"PATH": f"{clean}{os.pathsep}{os.environ['PATH']}"}


def _same(said: pd.DataFrame, trainers: pd.DataFrame) -> None:
    assert list(said["label"]) == list(trainers["predicted"])
    ours = said[["probability_dark", "probability_light"]].to_numpy()
    assert np.abs(ours - trainers[["dark", "light"]].to_numpy()).max() <= TOLERANCE


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_clean_process_predicts_what_the_trainer_does(
    fitted: Fitted, entry: LoggedModel, trainers: pd.DataFrame, clean: Path, tmp_path: Path
) -> None:
    words = [str(clean / "python"), "-c", LOAD, fitted.store.uri, entry.model_id, json.dumps(list(trainers["file"]))]
    done = subprocess.run(
        words, env=_environment(clean, fitted), cwd=fitted.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    _same(pd.read_json(io.StringIO(done.stdout), orient="split"), trainers)
    assert trainers[["dark", "light"]].to_numpy().std() > 0.01  # or else it would tell nothing


def test_the_model_says_what_it_is(fitted: Fitted, entry: LoggedModel) -> None:
    folder = Path(entry.artifact_location.removeprefix("file://"))
    assert entry.source_run_id is not None
    run = MlflowClient(fitted.store.uri).get_run(entry.source_run_id)
    assert not list(folder.rglob("*.pkl"))
    described = Model.load(str(folder))
    assert described.signature.inputs.input_names() == ["image"]
    assert described.signature.outputs.input_names()[:2] == ["label", "score"]
    assert described.metadata is not None
    facts = described.metadata["plt_nn"]
    assert facts["run"] == fitted.uid
    assert facts["reached"]["val_loss"] == run.data.metrics["best/val_loss"]
    assert run.inputs is not None
    digests = {each.tags[0].value: each.dataset.digest for each in run.inputs.dataset_inputs}
    assert facts["data"] == digests
    assert entry.tags["plt_nn.data.validation"] == digests["validation"]
    assert (entry.tags["plt_nn.monitor"], entry.tags["plt_nn.mode"]) == ("val_loss", "min")
    required = (folder / "requirements.txt").read_text()
    assert "torch==" in required
    assert "timm==" in required
    assert "lightning" not in required
    assert "plt-nn" not in required
    example = described.load_input_example(str(folder))
    assert isinstance(example, pd.DataFrame)
    served = json.loads((folder / "serving_input_example.json").read_text())
    assert served["dataframe_split"]["columns"] == ["image"]
    weights = fitted.store.checkpoints / "photos" / fitted.uid / "checkpoints" / "best.safetensors"
    assert (folder / "best.safetensors").read_bytes() == weights.read_bytes()


def test_nothing_is_downloaded_to_make_the_net(fitted: Fitted) -> None:
    predictor = load_predictor(fitted.store.checkpoints / "photos" / fitted.uid / "checkpoints")
    arguments = predictor.card.net["init_args"]
    assert (arguments["pretrained"], arguments["num_classes"]) == (False, 2)


class Served:
    """`mlflow models serve` in the clean environment."""

    def __init__(self, model: str, clean: Path, fitted: Fitted, log: Path) -> None:
        self.port, self._log = free_port(), log
        words = ["models", "serve", "-m", f"models:/{model}", "--env-manager", "local", "--host", "127.0.0.1"]
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [str(clean / "python"), "-m", "mlflow", *words, "--port", str(self.port)],
                env=_environment(clean, fitted),
                cwd=log.parent,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def wait(self) -> None:
        end = time.monotonic() + warm.PATIENCE
        while time.monotonic() < end:
            assert self._process.poll() is None, self._log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.2)
        raise AssertionError(self._log.read_text())

    def post(self, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
        address = f"http://127.0.0.1:{self.port}/invocations"
        request = urllib.request.Request(address, body, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=warm.PATIENCE) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def kill(self) -> None:
        os.killpg(self._process.pid, 9)
        self._process.wait(30)


@pytest.fixture(scope="module")
def served(
    fitted: Fitted, entry: LoggedModel, clean: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    server = Served(entry.model_id, clean, fitted, tmp_path_factory.mktemp("served") / "log")
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def _split(*images: Any) -> bytes:
    texts = [base64.b64encode(image).decode() if isinstance(image, bytes) else image for image in images]
    return json.dumps({"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}}).encode()


@pytest.mark.slow
def test_the_served_model_answers_with_the_trainers_predictions(served: Served, trainers: pd.DataFrame) -> None:
    images = [Path(file).read_bytes() for file in trainers["file"]]
    texts = [base64.b64encode(image).decode() for image in images]
    records = [{"image": text} for text in texts]
    bodies: list[Any] = [json.loads(_split(*images)), {"inputs": texts}, {"dataframe_records": records}]
    for body in [*bodies, {"instances": records}]:
        status, answer = served.post(json.dumps(body).encode())
        assert status == 200, answer
        _same(pd.DataFrame(answer["predictions"]), trainers)


@pytest.mark.slow
def test_bad_requests_get_a_reason_and_the_server_lives_on(served: Served, fitted: Fitted) -> None:
    good = fitted.val[0].read_bytes()
    big = io.BytesIO()
    Image.new("L", (10_000, 5_100)).save(big, "PNG")
    for body, kind, status, reason in [
        (good, "image/png", 415, "only supports the following content types"),
        (_split(good[: len(good) // 2]), "application/json", 400, "image 0: "),
        (_split(big.getvalue()), "application/json", 400, "10000 x 5100 pixels are more than the 40 million"),
        (b"", "application/json", 400, "valid JSON"),
        (b"a text", "application/json", 400, "valid JSON"),
        (_split("a text"), "application/json", 400, "image"),
        (_split(b"a text"), "application/json", 400, "image 0: not an image"),
        (_split(), "application/json", 400, "no rows"),
        (_split(3), "application/json", 400, "image"),
        (f"image\n{fitted.val[0]}\n".encode(), "text/csv", 400, "is not base64"),
    ]:
        assert served.post(body, kind)[0] == status
        assert reason in served.post(body, kind)[1]
    assert served.post(_split(good))[0] == 200

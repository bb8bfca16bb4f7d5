"""A Lightning logger for MLflow on the embedded store."""

import os
import shlex
import time
from argparse import Namespace
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from plt_nn.errors import ConfigError, TrackingError
from plt_nn.tracking.environment import environment_tags
from plt_nn.tracking.flat import flat_params, legal_keys
from plt_nn.tracking.store import store_at

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

_WRITE_SECONDS = 2.0
_STATUS = {"success": "FINISHED", "finished": "FINISHED", "failed": "FAILED"}


class EmbeddedMLFlowLogger(Logger):
    """Logs to MLflow, by default on a SQLite store in a folder, and writes metrics in batches.

    Nothing is opened before the first access to `experiment`, and then by process 0 alone, under a file lock.
    (Lightning's `MLFlowLogger` opens the store in its constructor, on every process, and several that meet a fresh
    store at once break each other's migrations; it also puts its address into the environment, where the next logger
    finds it.) Each run carries its versions, command, seed and git commit as tags. Metrics get their time stamp when
    they are logged and are written together: at the latest with the next log after two seconds, and at the end.

    Args:
        experiment_name: The experiment, created when it does not exist.
        run_name: The run's name in the MLflow UI. Default: MLflow makes one up.
        store: The folder of the store, relative to the working directory.
        tracking_uri: The address of an MLflow server or database to use in the store's stead. Default: the environment
            variable `MLFLOW_TRACKING_URI`, read when the logger is made, else the store.
        tags: More tags for the run.

    Raises:
        ConfigError: When the run is created: if the experiment has been deleted.
        TrackingError: When the run is created: if the server or store cannot be used.
    """

    def __init__(
        self,
        experiment_name: str = "default",
        run_name: str | None = None,
        store: str = "mlruns",
        tracking_uri: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.store = store_at(store)
        self.tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or self.store.uri
        self._experiment_id: str | None = None
        self._experiment_name = experiment_name
        self._run_name = run_name
        self._tags = dict(tags or {})
        self._client: MlflowClient | None = None
        self._run_id: str | None = None
        self._pending: list[Metric] = []
        self._written_at = time.monotonic()

    @property
    @rank_zero_experiment
    def experiment(self) -> "MlflowClient":
        """MLflow's client; the first access creates the run."""
        if self._client is None:
            from mlflow.exceptions import MlflowException

            try:
                with self.store.lock() if self._is_embedded else nullcontext():
                    self._client = self._open()
            except MlflowException as error:
                raise TrackingError(
                    f"MLflow at {self.tracking_uri} cannot be used: {error} Start it, or unset MLFLOW_TRACKING_URI to "
                    f"use the store in {self.store.root}."
                ) from error
        return self._client

    @property
    def run_id(self) -> str | None:
        """The run's id, on process 0; the first access creates the run. None on the other processes."""
        _ = self.experiment
        return self._run_id

    @property
    def experiment_id(self) -> str | None:
        """The experiment's id, on process 0."""
        _ = self.experiment
        return self._experiment_id

    @property
    def save_dir(self) -> str:
        """The folder of the checkpoints: `<save_dir>/<experiment>/<run id>/checkpoints`."""
        return str(self.store.checkpoints)

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._experiment_name

    @property
    def version(self) -> str | None:
        """The run's id, on process 0."""
        return self.run_id

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keeps the metrics for the next batch."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._pending += [Metric(key, float(value), now, step or 0) for key, value in legal_keys(metrics).items()]
        if time.monotonic() - self._written_at > _WRITE_SECONDS:
            self._write_pending()

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Logs parameters, nested ones by dotted names."""
        from mlflow.entities import Param

        flat = flat_params(vars(params) if isinstance(params, Namespace) else params)
        self.experiment.log_batch(self._run(), params=[Param(key, value) for key, value in flat.items()])

    @rank_zero_only
    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Logs a file as an artifact of the run, in a folder of its artifacts."""
        self.experiment.log_artifact(self._run(), str(path), folder)

    @rank_zero_only
    def log_text(self, text: str, name: str) -> None:
        """Logs a text as an artifact of the run, under a file name."""
        self.experiment.log_text(self._run(), text, name)

    @rank_zero_only
    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags of the run."""
        from mlflow.entities import RunTag

        self.experiment.log_batch(self._run(), tags=[RunTag(key, value) for key, value in tags.items()])

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Writes what waits and closes the run: FINISHED, or FAILED after an exception."""
        self._write_pending()
        if self._client is not None:
            self._client.set_terminated(self._run(), _STATUS.get(status, "FINISHED"))

    def ui_command(self) -> str:
        """The command that opens this run in the MLflow UI."""
        if not self._is_embedded:
            return f"the MLflow UI of {self.tracking_uri}"
        folder = os.path.relpath(self.store.root)
        place = [] if folder == "mlruns" else ["--store", folder]
        return shlex.join(["plt-nn", "ui", *place, "--run", self._run()])

    @property
    def _is_embedded(self) -> bool:
        return self.tracking_uri == self.store.uri

    def _open(self) -> "MlflowClient":
        from mlflow.tracking import MlflowClient
        from mlflow.tracking.context.registry import resolve_tags

        client = MlflowClient(self.tracking_uri)
        experiment = client.get_experiment_by_name(self._experiment_name)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise ConfigError(
                f"The experiment {self._experiment_name!r} was deleted in MLflow. Choose another name, or bring it "
                f"back with `mlflow experiments restore --experiment-id {experiment.experiment_id}`."
            )
        location = self.store.artifacts(self._experiment_name) if self._is_embedded else None
        self._experiment_id = (
            client.create_experiment(self._experiment_name, artifact_location=location)
            if experiment is None
            else experiment.experiment_id
        )
        tags = resolve_tags(environment_tags() | self._tags)
        self._run_id = client.create_run(self._experiment_id, tags=tags, run_name=self._run_name).info.run_id
        return client

    def _write_pending(self) -> None:  # not `save`: Lightning calls that after every single log
        pending, self._pending = self._pending, []
        self._written_at = time.monotonic()
        if pending:
            self.experiment.log_batch(self._run(), metrics=pending)

    def _run(self) -> str:
        assert self.run_id is not None, "only process 0 has a run"
        return self.run_id

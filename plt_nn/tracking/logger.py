"""A Lightning logger for MLflow on the embedded store."""

import os
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from plt_nn.tracking.environment import environment_tags
from plt_nn.tracking.flat import flat_params
from plt_nn.tracking.store import store_at

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

_WRITE_SECONDS = 2.0
_STATUS = {"success": "FINISHED", "failed": "FAILED"}


class EmbeddedMLFlowLogger(MLFlowLogger):
    """Lightning's `MLFlowLogger` on a SQLite store in a folder, with its metrics written in batches.

    Process 0 alone opens the store, under a file lock. Each run carries its versions, command, seed and git commit as
    tags. Metrics get their time stamp when they are logged and are written together, at the latest with the next log
    after two seconds, and when the fit ends.

    Args:
        experiment_name: The experiment, created when it does not exist.
        run_name: The run's name in the MLflow UI. Default: MLflow makes one up.
        store: The folder of the store, relative to the working directory.
        tracking_uri: The address of an MLflow server or database to use in the store's stead. Default: the environment
            variable `MLFLOW_TRACKING_URI`, read when the logger is made, else the store.
        tags: More tags for the run.
    """

    def __init__(
        self,
        experiment_name: str = "default",
        run_name: str | None = None,
        store: str = "mlruns",
        tracking_uri: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        self.store = store_at(store)
        address = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or self.store.uri
        self.embedded = address == self.store.uri
        super().__init__(
            experiment_name=experiment_name,
            run_name=run_name,
            tracking_uri=address,
            tags=dict(tags or {}),
            artifact_location=self.store.artifacts(experiment_name) if self.embedded else None,
        )
        self._pending: list[Metric] = []
        self._written_at = time.monotonic()

    @property
    @rank_zero_experiment
    def experiment(self) -> "MlflowClient":
        """MLflow's client; the first access creates the run."""
        if not self._initialized:
            self.tags = environment_tags() | (self.tags or {})
            with self.store.lock():
                return cast("MlflowClient", super().experiment)
        return self._mlflow_client

    @property
    def save_dir(self) -> str:
        """The folder of the checkpoints: `<save_dir>/<experiment>/<run id>/checkpoints`."""
        return str(self.store.checkpoints)

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._experiment_name

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keeps the metrics for the next batch."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._pending += [Metric(key, float(value), now, step or 0) for key, value in metrics.items()]
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
        if self._initialized:
            self.experiment.set_terminated(self._run(), _STATUS.get(status, "FINISHED"))

    def ui_command(self) -> str:
        """The command that opens this run in the MLflow UI."""
        folder = os.path.relpath(self.store.root)
        place = "" if folder == "mlruns" else f" --store {folder}"
        return f"plt-nn ui{place} --run {self.run_id}" if self.embedded else f"the MLflow UI of {self._tracking_uri}"

    def _write_pending(self) -> None:  # not `save`: Lightning calls that after every single log
        pending, self._pending = self._pending, []
        self._written_at = time.monotonic()
        if pending:
            self.experiment.log_batch(self._run(), metrics=pending)

    def _run(self) -> str:
        assert self.run_id is not None, "only process 0 has a run"
        return self.run_id

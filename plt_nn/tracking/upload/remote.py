"""MLflow as the uploader uses it: every call can be repeated without doing its work twice."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from requests import HTTPError

from plt_nn.tracking.mlflow_client import is_server, mlflow_client
from plt_nn.tracking.spool.events import Begin, UsedDataset
from plt_nn.tracking.store import Store
from plt_nn.tracking.tags import DATA_CONTEXT, SHA256, UID
from plt_nn.tracking.upload.database import ensure_database


class MetricRow(NamedTuple):
    """A row of a metric: everything by which MLflow distinguishes rows."""

    key: str
    value: float
    time: int
    step: int


class NotReady(Exception):  # noqa: N818  # a state that somebody can change, rather than an error
    """Delivery must wait until somebody has done something; the text says what."""


class RemoteRun:
    """A run on an MLflow server or in a database; created when there is none of its uid, on the first machine.

    Args:
        begin: The event with which the spool begins.
        store: The store that the spool is part of.

    Attributes:
        run: The run as it was when it was opened.
        id: MLflow's id of the run.

    Raises:
        NotReady: If the run or its experiment has been deleted, if another machine has to create it first, or if what
            answers knows nothing of runs.
    """

    def __init__(self, begin: Begin, store: Store) -> None:
        self.uri = begin.uri or store.uri
        self.is_http = is_server(self.uri)
        self._uid, self._store = begin.uid, store
        if not self.is_http:
            ensure_database(self.uri)
        self._client = mlflow_client(self.uri)
        self.run = self._opened(begin)
        self.id: str = self.run.info.run_id

    def now(self, run_id: str | None = None) -> Run:
        """The run as it is now; raises as the class does."""
        found = self._known(self._client.get_run(run_id or self.id))
        if found.info.lifecycle_stage == "deleted":
            _require_active(self._client.get_experiment(found.info.experiment_id))
            hint = f"`mlflow runs restore --run-id {found.info.run_id}` brings it back."
            raise NotReady(f"The run was deleted in MLflow; {hint}")
        return found

    def find_run_id(self, uid: str) -> str | None:
        """MLflow's id of the run with a uid, in any experiment; the word itself if it is such an id."""
        experiments = [found.experiment_id for found in self._client.search_experiments()]
        found = self._run_with_uid(uid, experiments)
        return found.info.run_id if found is not None else None

    def log(
        self,
        rows: Sequence[MetricRow] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        model_id: str | None = None,
    ) -> None:
        """Logs metrics, parameters and tags together."""
        self._client.log_batch(
            self.id,
            metrics=[Metric(r.key, r.value, r.time, r.step, model_id=model_id, run_id=self.id) for r in rows],
            params=[Param(key, value) for key, value in (params or {}).items()],
            tags=[RunTag(key, value) for key, value in (tags or {}).items()],
        )

    def remove_tag(self, key: str) -> None:
        """Removes a tag that the run has."""
        self._client.delete_tag(self.id, key)

    def steps_from(self, key: str, step: int) -> set[int]:
        """The steps of a metric's rows that are not before `step`."""
        metrics = self.run.data._metric_objs  # rows of the highest step; there is no public name for them
        last = {metric.key: metric.step for metric in metrics}
        if last.get(key, step - 1) < step:
            return set()
        return {row.step for row in self._client.get_metric_history(self.id, key) if row.step >= step}

    def set_status(self, status: str, time: int | None = None) -> None:
        """Sets the run's status: RUNNING, or FINISHED, FAILED or KILLED at a time."""
        if status == "RUNNING":
            self._client.update_run(self.id, status)
        else:
            self._client.set_terminated(self.id, status, end_time=time)

    def log_dataset(self, event: UsedDataset) -> None:
        """Logs a data set as the run's input."""
        source, profile = json.dumps({"uri": event.source}), json.dumps(event.profile)
        data = Dataset(event.name, event.digest, "local", source, profile=profile)
        self._client.log_inputs(self.id, [DatasetInput(data, [InputTag(DATA_CONTEXT, event.context)])])

    def put_artifact(self, file: Path, path: str) -> None:
        """Puts a file among the run's artifacts; its name is the last part of `path`."""
        assert file.name == Path(path).name, "MLflow names artifacts by their file"
        self._client.log_artifact(self.id, str(file), os.path.dirname(path) or None)  # noqa: PTH120  # not a local path

    def has_artifact(self, path: str) -> bool:
        """Whether there is an artifact of this path."""
        listed = self._client.list_artifacts(self.id, os.path.dirname(path) or None)  # noqa: PTH120  # not a local path
        return any(item.path == path for item in listed)

    def remove_artifact(self, path: str) -> None:
        """Removes an artifact, if it is there."""
        try:
            self._delete(self.run.info.artifact_uri, path)
        except FileNotFoundError:
            return
        except HTTPError as error:
            if error.response is None or error.response.status_code != 404:
                raise

    def model_of(self, digest: str, tags: Mapping[str, str]) -> tuple[LoggedModel, list[LoggedModel]]:
        """The run's model with weights of this digest, created with tags if there is none, and its other models."""
        experiment_id = self.run.info.experiment_id
        known = list(self._client.search_logged_models([experiment_id], f"tags.`{UID}` = '{self._uid}'"))
        model = next((each for each in known if each.tags.get(SHA256) == digest), None)
        if model is None:
            all_tags = {UID: self._uid, SHA256: digest, **tags}
            model = self._client.create_logged_model(experiment_id, "best", self.id, all_tags)
        return model, [older for older in known if older.model_id != model.model_id]

    def fill_model(self, run: Run, model: LoggedModel, files: Path, rows: Sequence[MetricRow], step: int) -> None:
        """Puts the files of a folder, or one file, into a model, logs what it has reached, and marks it ready."""
        if files.is_dir():
            self._client.log_model_artifacts(model.model_id, str(files))
        else:
            self._client.log_model_artifact(model.model_id, str(files))
        outputs = run.outputs.model_outputs if run.outputs is not None else []
        if model.model_id not in {output.model_id for output in outputs}:
            self._client.log_outputs(self.id, [LoggedModelOutput(model.model_id, step)])
        self.log(rows, model_id=model.model_id)
        self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)

    def remove_model(self, model: LoggedModel) -> None:
        """Removes a model, and its files, which MLflow would leave behind."""
        self._delete(model.artifact_location, None)
        self._client.delete_logged_model(model.model_id)

    def _delete(self, location: str, path: str | None) -> None:
        repository: Any = get_artifact_repository(location, tracking_uri=self.uri)
        repository.delete_artifacts(path)

    def _experiment(self, name: str) -> Experiment:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # Stated, for MLflow's default depends on the working directory. A server has its own place.
            location = None if self.is_http else self._store.artifacts(name)
            found = self._client.get_experiment(self._client.create_experiment(name, artifact_location=location))
        _require_active(found)
        return found

    def _opened(self, begin: Begin) -> Run:
        experiment_id = self._experiment(begin.experiment).experiment_id
        found = self._run_with_uid(self._uid, [experiment_id])
        if found is not None:
            return self.now(found.info.run_id)
        if begin.node > 0:
            raise NotReady("The run's first machine has not reached MLflow yet.")
        tags = {UID: self._uid, **begin.tags}
        return self._known(
            self._client.create_run(experiment_id, start_time=begin.time, tags=tags, run_name=begin.run_name)
        )

    def _known(self, run: Run) -> Run:
        if run.data.tags.get(UID) != self._uid:  # a proxy or a login page may answer anything with success
            raise NotReady(f"What answers at {self.uri} does not know the run {self._uid}: is it an MLflow server?")
        return run

    def _run_with_uid(self, uid: str, experiments: list[str]) -> Run | None:
        found: Iterable[Run] = self._client.search_runs(
            experiments, f"tags.`{UID}` = '{uid}'", run_view_type=ViewType.ALL, max_results=1
        )
        return next(iter(found), None)


def _require_active(experiment: Experiment) -> None:
    if experiment.lifecycle_stage == "deleted":
        raise NotReady(
            f"The experiment {experiment.name!r} was deleted in MLflow; `mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id}` brings it back."
        )

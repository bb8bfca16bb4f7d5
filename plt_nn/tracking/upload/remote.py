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
from mlflow.tracking import MlflowClient
from requests import HTTPError

from plt_nn.tracking.spool.events import Event
from plt_nn.tracking.store import Store
from plt_nn.tracking.tags import DATA_CONTEXT, SHA256, UID
from plt_nn.tracking.upload.database import ensure_database


class MetricRow(NamedTuple):
    """A row of a metric: what MLflow tells rows apart by."""

    key: str
    value: float
    time: int
    step: int


class NotReady(Exception):  # noqa: N818  # a state that somebody can mend, rather than an error
    """Delivery must wait until somebody has done something; the text says what."""


class Remote:
    """An MLflow server or database, and one run in it.

    Args:
        uri: Its address; None for the store's own database.
        store: The store that the spool is part of.
        uid: The run's uid.
    """

    def __init__(self, uri: str | None, store: Store, uid: str) -> None:
        self.uri = uri or store.uri
        self.is_http = self.uri.startswith(("http://", "https://"))
        self._uid = uid
        self._store = store
        if not self.is_http:
            ensure_database(self.uri)
        self._client = MlflowClient(self.uri)

    def run(self, run_id: str) -> Run:
        """The run as it stands.

        Raises:
            NotReady: If it or its experiment has been deleted, or if what answers knows nothing of runs.
        """
        found = self._known(self._client.get_run(run_id))
        if found.info.lifecycle_stage == "deleted":
            _require_active(self._client.get_experiment(found.info.experiment_id))
            raise NotReady(f"The run was deleted in MLflow; `mlflow runs restore --run-id {run_id}` brings it back.")
        return found

    def open_run(self, begin: Event) -> Run:
        """The run of this uid; on the first machine it is created when there is none.

        Args:
            begin: The event with which the spool begins.

        Raises:
            NotReady: If its experiment has been deleted, if another machine has to create it first, or if what answers
                knows nothing of runs.
        """
        experiment = self._experiment(begin["experiment"])
        found = self._run_with(UID, self._uid, [experiment.experiment_id])
        if found is not None:
            return self.run(found.info.run_id)
        if begin["node"] > 0:
            raise NotReady("The run's first machine has not reached MLflow yet.")
        tags = {UID: self._uid, **begin["tags"]}
        run = self._client.create_run(
            experiment.experiment_id, start_time=begin["time"], tags=tags, run_name=begin["run_name"]
        )
        return self._known(run)

    def find_run_id(self, uid: str) -> str | None:
        """MLflow's id of the run with a uid, in any experiment; the word itself if it is such an id."""
        experiments = [found.experiment_id for found in self._client.search_experiments()]
        found = self._run_with(UID, uid, experiments)
        return found.info.run_id if found is not None else None

    def log(
        self,
        run_id: str,
        rows: Sequence[MetricRow] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        model_id: str | None = None,
    ) -> None:
        """Logs metrics, parameters and tags together."""
        self._client.log_batch(
            run_id,
            metrics=[Metric(r.key, r.value, r.time, r.step, model_id=model_id, run_id=run_id) for r in rows],
            params=[Param(key, value) for key, value in (params or {}).items()],
            tags=[RunTag(key, value) for key, value in (tags or {}).items()],
        )

    def remove_tag(self, run_id: str, key: str) -> None:
        """Removes a tag that the run has."""
        self._client.delete_tag(run_id, key)

    def steps_from(self, run: Run, key: str, step: int) -> set[int]:
        """The steps of a metric's rows that are not before `step`."""
        last = {metric.key: metric.step for metric in run.data._metric_objs}  # rows of the highest step; no public name
        if last.get(key, step - 1) < step:
            return set()
        return {row.step for row in self._client.get_metric_history(run.info.run_id, key) if row.step >= step}

    def set_status(self, run_id: str, status: str, time: int | None = None) -> None:
        """Says that a run is RUNNING, or has ended as FINISHED, FAILED or KILLED at a time."""
        if status == "RUNNING":
            self._client.update_run(run_id, status)
        else:
            self._client.set_terminated(run_id, status, end_time=time)

    def log_dataset(self, run_id: str, event: Event) -> None:
        """Logs a data set as the run's input."""
        data = Dataset(
            name=event["name"],
            digest=event["digest"],
            source_type="local",
            source=json.dumps({"uri": event["source"]}),
            profile=json.dumps(event["profile"]),
        )
        self._client.log_inputs(run_id, [DatasetInput(data, [InputTag(DATA_CONTEXT, event["context"])])])

    def put_artifact(self, run_id: str, file: Path, path: str) -> None:
        """Puts a file among the run's artifacts; its name is the last part of `path`."""
        assert file.name == Path(path).name, "MLflow names artifacts by their file"
        self._client.log_artifact(run_id, str(file), os.path.dirname(path) or None)  # noqa: PTH120  # not a local path

    def has_artifact(self, run_id: str, path: str) -> bool:
        """Whether there is an artifact of this path."""
        listed = self._client.list_artifacts(run_id, os.path.dirname(path) or None)  # noqa: PTH120  # not a local path
        return any(item.path == path for item in listed)

    def remove_artifact(self, run: Run, path: str) -> None:
        """Removes an artifact, if it is there."""
        try:
            self._delete(run.info.artifact_uri, path)
        except FileNotFoundError:
            return
        except HTTPError as error:
            if error.response is None or error.response.status_code != 404:
                raise

    def model_of(self, run: Run, digest: str, tags: Mapping[str, str]) -> tuple[LoggedModel, list[LoggedModel]]:
        """The run's model with this digest, made if there is none, and the run's other models.

        Args:
            run: The run.
            digest: The digest of the model's weights.
            tags: Tags for a model that is made.
        """
        found = self._client.search_logged_models([run.info.experiment_id], f"tags.`{UID}` = '{self._uid}'")
        known = list(found)
        model = next((each for each in known if each.tags.get(SHA256) == digest), None)
        if model is None:
            told = {UID: self._uid, SHA256: digest, **tags}
            model = self._client.create_logged_model(run.info.experiment_id, "best", run.info.run_id, told)
        return model, [older for older in known if older.model_id != model.model_id]

    def fill_model(self, run: Run, model: LoggedModel, files: Path, rows: Sequence[MetricRow], step: int) -> None:
        """Puts the files of a folder, or one file, into a model, says what it has reached, and that it is ready."""
        if files.is_dir():
            self._client.log_model_artifacts(model.model_id, str(files))
        else:
            self._client.log_model_artifact(model.model_id, str(files))
        outputs = run.outputs.model_outputs if run.outputs is not None else []
        if model.model_id not in {output.model_id for output in outputs}:
            self._client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step)])
        self.log(run.info.run_id, rows, model_id=model.model_id)
        self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)

    def remove_model(self, model: LoggedModel) -> None:
        """Removes a model, and its files, which MLflow would leave."""
        self._delete(model.artifact_location, None)
        self._client.delete_logged_model(model.model_id)

    def _delete(self, location: str, path: str | None) -> None:
        repository: Any = get_artifact_repository(location, tracking_uri=self.uri)
        repository.delete_artifacts(path)

    def _experiment(self, name: str) -> Experiment:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # Said explicitly, for MLflow's default depends on the working directory. A server has its own place.
            location = None if self.is_http else self._store.artifacts(name)
            found = self._client.get_experiment(self._client.create_experiment(name, artifact_location=location))
        _require_active(found)
        return found

    def _known(self, run: Run) -> Run:
        if run.data.tags.get(UID) != self._uid:  # a proxy or a page for logging in may answer anything with success
            raise NotReady(f"What answers at {self.uri} does not know the run {self._uid}: is it an MLflow server?")
        return run

    def _run_with(self, tag: str, value: str, experiments: list[str]) -> Run | None:
        found: Iterable[Run] = self._client.search_runs(
            experiments, f"tags.`{tag}` = '{value}'", run_view_type=ViewType.ALL, max_results=1
        )
        return next(iter(found), None)


def _require_active(experiment: Experiment) -> None:
    if experiment.lifecycle_stage == "deleted":
        raise NotReady(
            f"The experiment {experiment.name!r} was deleted in MLflow; `mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id}` brings it back."
        )

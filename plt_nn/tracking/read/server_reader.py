"""Reads runs from an MLflow server, with MLflow's own client."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from plt_nn.errors import TrackingError
from plt_nn.tracking.masking import masked_text
from plt_nn.tracking.read.runs import Histories, History, Point, RunRecord, history_of
from plt_nn.tracking.tags import DATA_CONTEXT
from plt_nn.tracking.upload.environment import set_defaults
from plt_nn.tracking.upload.retries import in_words

if TYPE_CHECKING:
    from mlflow.entities import Run

_AT_ONCE = 8  # requests; a server answers one in some 10 ms, most of which is waiting
_PAGE = 1000  # runs
Answer = TypeVar("Answer")


class ServerReader:
    """Reads runs from an MLflow server.

    Args:
        uri: Its address.

    Raises:
        TrackingError: From any of its methods, if the server does not answer.
    """

    def __init__(self, uri: str) -> None:
        set_defaults()  # somebody waits for the answer: MLflow would try for minutes
        from mlflow.tracking import MlflowClient

        self._uri = uri
        self._client = MlflowClient(uri)

    def experiments(self) -> list[str]:
        """The names of the experiments, the newest first."""
        return self._asked(lambda: [found.name for found in self._client.search_experiments()])

    def runs(self, experiments: Sequence[str]) -> list[RunRecord]:
        """The runs of some experiments, the newest first; those that were deleted are left out."""
        return self._asked(lambda: self._runs(experiments))

    def histories(self, runs: Sequence[RunRecord], names: Sequence[str] | None = None) -> Histories:
        """All rows of metrics; see `RunReader`."""
        wanted = [(run.id, name) for run in runs for name in (run.last if names is None else names) if name in run.last]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            read = self._asked(lambda: list(pool.map(lambda one: self._history(*one), wanted)))
        found: Histories = {run.id: {} for run in runs}
        for (run, name), history in zip(wanted, read, strict=True):
            found[run][name] = history
        return found

    def value_at(self, run: RunRecord, name: str, step: int) -> float | None:
        """A metric's value at a step; None if it has none there."""
        return self.histories([run], [name])[run.id][name].at(step) if name in run.last else None

    def artifact(self, run: RunRecord, path: str) -> bytes | None:
        """The content of an artifact; None if there is none of this path."""
        folder = path.rpartition("/")[0]
        if all(item.path != path for item in self._asked(lambda: self._client.list_artifacts(run.id, folder or None))):
            return None
        with TemporaryDirectory() as place:
            return Path(self._asked(lambda: self._client.download_artifacts(run.id, path, place))).read_bytes()

    def _runs(self, experiments: Sequence[str]) -> list[RunRecord]:
        names = {found.experiment_id: found.name for found in self._client.search_experiments()}
        wanted = [experiment_id for experiment_id, name in names.items() if name in experiments]
        runs: list[RunRecord] = []
        token: str | None = None
        while wanted:
            order = ["attributes.start_time DESC"]
            page = self._client.search_runs(wanted, max_results=_PAGE, order_by=order, page_token=token)
            runs += [_record(run, names[run.info.experiment_id]) for run in page]
            token = page.token
            if not token:
                break
        return runs

    def _history(self, run: str, name: str) -> History:
        rows = [(row.step, row.value, row.timestamp) for row in self._client.get_metric_history(run, name)]
        return history_of(rows)

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        try:
            return ask()
        except (MlflowException, RequestException) as error:
            place = masked_text(self._uri)
            raise TrackingError(f"MLflow at {place} did not give its runs: {in_words(error)}") from error


def _record(run: "Run", experiment: str) -> RunRecord:
    inputs = run.inputs.dataset_inputs if run.inputs is not None else []
    digests = {tag.value: used.dataset.digest for used in inputs for tag in used.tags if tag.key == DATA_CONTEXT}
    contexts = [(tag.value, used.dataset) for used in inputs for tag in used.tags if tag.key == DATA_CONTEXT]
    rows = run.data._metric_objs  # of the highest step; there is no public name for more than the value
    last = {row.key: Point(row.value, row.step, row.timestamp) for row in rows}
    digests = {context: data.digest for context, data in contexts}
    info = run.info
    return RunRecord(
        *(info.run_id, info.run_name or info.run_id, experiment, info.status, info.start_time or 0, info.end_time),
        *(run.data.params, run.data.tags, last, digests, info.artifact_uri),
    )

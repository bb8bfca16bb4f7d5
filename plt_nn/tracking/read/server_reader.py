"""Reads runs from an MLflow server, with MLflow's own client."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from plt_nn.tracking.mlflow_client import asking, data_digests, mlflow_client
from plt_nn.tracking.read.runs import Histories, History, Point, RunRecord, history_of

if TYPE_CHECKING:
    from mlflow.entities import Run

_AT_ONCE = 8  # requests; a server answers one in some 10 ms, most of which is waiting
_PAGE = 1000  # runs


class ServerReader:
    """Reads runs from the MLflow server of an address.

    Raises:
        TrackingError: From any of its methods, if the server does not answer.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = mlflow_client(uri)

    def experiments(self) -> list[str]:
        """The names of the experiments, the newest first."""
        with self._asking():
            return [found.name for found in self._client.search_experiments()]

    def runs(self, experiments: Sequence[str]) -> list[RunRecord]:
        """The runs of some experiments, the newest first; those that were deleted are left out."""
        with self._asking():
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

    def histories(
        self, runs: Sequence[RunRecord], names: Sequence[str] | None = None, step: int | None = None
    ) -> Histories:
        """All rows of metrics, also where one step would do: a server gives no fewer; see `AllRuns`."""
        wanted = [(run.id, name) for run in runs for name in run.metrics(names)]
        with self._asking(), ThreadPoolExecutor(_AT_ONCE) as pool:
            read = list(pool.map(lambda one: self._history(*one), wanted))
        found: Histories = {run.id: {} for run in runs}
        for (run, name), history in zip(wanted, read, strict=True):
            found[run][name] = history
        return found

    def artifact(self, run: RunRecord, path: str) -> bytes | None:
        """The content of an artifact; None if there is none of this path."""
        with self._asking(), TemporaryDirectory() as folder:
            if all(item.path != path for item in self._client.list_artifacts(run.id, path.rpartition("/")[0] or None)):
                return None
            return Path(self._client.download_artifacts(run.id, path, folder)).read_bytes()

    def _history(self, run: str, name: str) -> History:
        rows = [(row.step, row.value, row.timestamp) for row in self._client.get_metric_history(run, name)]
        return history_of(rows)

    def _asking(self) -> AbstractContextManager[None]:
        return asking(self._uri, "did not give its runs")


def _record(run: "Run", experiment: str) -> RunRecord:
    info = run.info
    rows = run.data._metric_objs  # of the highest step; there is no public name for more than the value
    return RunRecord(
        id=info.run_id,
        name=info.run_name or info.run_id,
        experiment=experiment,
        status=info.status,
        began=info.start_time or 0,
        ended=info.end_time,
        params=run.data.params,
        tags=run.data.tags,
        last={row.key: Point(row.value, row.step, row.timestamp) for row in rows},
        data=data_digests(run),
        artifacts=info.artifact_uri,
    )

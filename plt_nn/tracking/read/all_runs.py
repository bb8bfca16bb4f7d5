"""All runs that can be seen from here: those of MLflow, and those of this store's spools that it does not have yet."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.tracking.masking import masked_text
from plt_nn.tracking.mlflow_client import is_server
from plt_nn.tracking.read.runs import Histories, RunRecord
from plt_nn.tracking.read.spool_runs import SpoolRun, spool_runs
from plt_nn.tracking.store import Store, tracking_address
from plt_nn.tracking.tags import HOST

if TYPE_CHECKING:
    from plt_nn.tracking.read.database_reader import DatabaseReader
    from plt_nn.tracking.read.server_reader import ServerReader


class AllRuns:
    """The runs of MLflow and of a store's spools, each once.

    A run that MLflow does not have completely, because its server is away or delivery is under way, is read from its
    spool. Whether its process is alive always comes from the spool.

    Args:
        store: The store.
        uri: The address of an MLflow server or database in place of the store. Default: as for a logger.

    Raises:
        ConfigError: For an address that cannot be used.
        TrackingError: From any of its methods, if MLflow cannot be read.
    """

    def __init__(self, store: Store, uri: str | None = None) -> None:
        self.store = store
        self.uri = tracking_address(uri, store)

    @property
    def place(self) -> str:
        """Where the runs are read from, in words."""
        return masked_text(self.uri or str(self.store.root))

    @cached_property
    def spools(self) -> dict[str, SpoolRun]:
        """The runs of the spools, by uid."""
        return {run.folder.uid: run for run in spool_runs(self.store.root)}

    def experiments(self) -> list[str]:
        """The names of the experiments, the newest first."""
        known = self._remote.experiments() if self._remote is not None else []
        return list(dict.fromkeys([*known, *(run.record.experiment for run in self.spools.values())]))

    def runs(self, experiments: Sequence[str]) -> list[RunRecord]:
        """The runs of some experiments, the newest first; those that were deleted are left out.

        Raises:
            ConfigError: For an experiment that does not exist.
        """
        known = self.experiments()
        for name in experiments:
            if name not in known:
                raise ConfigError(f"there is no experiment {name!r} in {self.place}.{did_you_mean(name, known)}")
        stored = self._remote.runs(experiments) if self._remote is not None and experiments else []
        found = {run.uid or run.id: self._with_spool(run) for run in stored}
        for uid, run in self.spools.items():
            never_delivered = run.record.id == uid
            if run.record.experiment in experiments and uid not in found and never_delivered:
                found[uid] = run.record
        return sorted(found.values(), key=lambda run: -run.began)

    def histories(
        self, runs: Sequence[RunRecord], names: Sequence[str] | None = None, step: int | None = None
    ) -> Histories:
        """All rows of metrics.

        Args:
            runs: The runs.
            names: The metrics. Default: all that a run has.
            step: The only step that matters, so that a database need not give the others. Default: all do.
        """
        found: Histories = {}
        stored: list[RunRecord] = []
        for run in runs:
            spool = self._undelivered(run)
            if spool is not None:
                found[run.id] = spool.histories(names)[spool.record.id]
            else:
                stored.append(run)
        return found | (self._remote.histories(stored, names, step) if self._remote is not None and stored else {})

    def value_at(self, run: RunRecord, name: str, step: int) -> float | None:
        """A metric's value at a step; None if it has none there."""
        history = self.histories([run], [name], step).get(run.id, {}).get(name)
        return history.at(step) if history is not None else None

    def artifact(self, run: RunRecord, path: str) -> bytes | None:
        """The content of an artifact that MLflow has; None if there is none of this path."""
        return self._remote.artifact(run, path) if self._remote is not None and run.id != run.uid else None

    @cached_property
    def _remote(self) -> "DatabaseReader | ServerReader | None":
        if self.uri is not None and is_server(self.uri):
            from plt_nn.tracking.read.server_reader import ServerReader  # MLflow takes a second

            return ServerReader(self.uri)
        if self.uri is None and not self.store.database.exists():
            return None
        from plt_nn.tracking.read.database_reader import DatabaseReader  # SQLAlchemy, which a fit's report does without

        return DatabaseReader(self.uri or self.store.uri)

    def _undelivered(self, run: RunRecord) -> SpoolRun | None:
        spool = self.spools.get(run.uid or "")
        return spool if spool is not None and spool.is_whole and spool.backlog.size > 0 else None

    def _with_spool(self, run: RunRecord) -> RunRecord:
        spool = self.spools.get(run.uid or "")
        if spool is None:
            return run
        ours = spool.record
        if self._undelivered(run) is not None:
            params = {**ours.params, **run.params}
            return replace(ours, id=run.id, name=run.name, artifacts=run.artifacts, params=params)
        tags = {HOST: ours.tags[HOST], **run.tags}
        return replace(run, status=ours.status, ended=ours.ended, tags=tags)

"""A Lightning logger for MLflow that never slows, blocks or ends a run, and loses nothing."""

import io
import os
import re
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.fabric.loggers.logger import _DummyExperiment
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from plt_nn.errors import did_you_mean, refuse
from plt_nn.tracking import tags as names
from plt_nn.tracking.environment import environment_tags, git_diff
from plt_nn.tracking.masking import flat_params, masked_text
from plt_nn.tracking.mlflow_client import without_password
from plt_nn.tracking.run_spool import RunSpool, end_warnings, ending
from plt_nn.tracking.spool.events import Begin, BestLogged, End, Event, Metrics, Params, Tags, UsedDataset
from plt_nn.tracking.spool.folder import UID_PATTERN, SpoolFolder, new_uid, start_of
from plt_nn.tracking.store import store_at, tracking_address
from plt_nn.tracking.upload.state import load_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AFTER_INTERRUPT = 10.0  # seconds: a scheduler that has sent SIGTERM does not wait long, nor does a person
CheckpointPolicy = Literal["best", "last", "all", "none"]
POLICIES: tuple[CheckpointPolicy, ...] = ("best", "last", "all", "none")


class DurableMLFlowLogger(Logger):
    """Logs to MLflow by way of a file: training never waits for a database or the network, and no row is lost.

    Process 0 appends what is logged to a file in `STORE/spool/`; a separate light process delivers it to MLflow,
    retries what fails, and ends when everything has arrived. If the training process is killed, the server is down,
    hangs or refuses, or the machine restarts, nothing is lost: `plt-nn sync` delivers the rest. At the end of a fit the
    logger waits a while for delivery and warns of what remains.

    A run has a name from its first moment, its `uid`, which is the logger's `version`: it names the folder of the
    checkpoints, is the same on every process, and is the tag `plt_nn.uid` of the run in MLflow.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from plt_nn import MLP, DurableMLFlowLogger, Regressor, SyntheticRegressionData
        >>> logger = DurableMLFlowLogger("an experiment", note="A first try.")  # in the folder mlruns
        >>> trainer = Trainer(max_epochs=1, logger=logger, accelerator="cpu", enable_progress_bar=False,
        ...     enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=1)
        >>> trainer.fit(Regressor(MLP(2, [4], 1)), SyntheticRegressionData(samples=40, batch_size=16))
        >>> logger.ui_command() == f"plt-nn ui --run {logger.uid}"
        True

    Args:
        experiment_name: The experiment, created when it does not exist.
        run_name: The run's name in the MLflow UI. Default: MLflow makes one up.
        store: The folder of the store, relative to the working directory.
        tracking_uri: The address of an MLflow server or database to use instead of the store. Default: the environment
            variable `MLFLOW_TRACKING_URI`, read when the run begins, else the store. A server's login is taken from
            `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
        tags: More tags for the run.
        note: A text for the run's description, in Markdown.
        parent: The run of which this one is a child: its uid or MLflow's id.
        checkpoints: Which files of `ModelCheckpoint` are logged to MLflow: the `best` by the monitored value, the
            `last` (what resuming on another machine needs), `all` that are on disk, or `none`. The best weights of
            `BestLossStopping` are the run's model in any case.
        flush_seconds: How long the end of a fit waits for delivery at most; after an exception, Ctrl-C or SIGTERM no
            more than 10 seconds, and with several processes not at all.
        most_megabytes: The largest size of the file; rows of metrics beyond that are lost, counted and reported.
        resume: The uid of a run to continue.

    Raises:
        ConfigError: For an argument that cannot be used; for an address of a folder of files, which MLflow no longer
            writes to, with the command that migrates it.
        TrackingError: When a run begins: if the folder cannot be written.
    """

    def __init__(
        self,
        experiment_name: str = "default",
        run_name: str | None = None,
        store: str = "mlruns",
        tracking_uri: str | None = None,
        tags: dict[str, str] | None = None,
        note: str | None = None,
        parent: str | None = None,
        checkpoints: CheckpointPolicy = "best",
        flush_seconds: float = 30.0,
        most_megabytes: int = 2048,
        resume: str | None = None,
    ) -> None:
        super().__init__()
        self.store = store_at(store)
        _check_arguments(checkpoints, flush_seconds, most_megabytes, resume)
        if tracking_uri is not None:
            tracking_address(tracking_uri, self.store)  # reports a mistake at once
        self.uid = resume or new_uid()
        self._is_resumed = resume is not None
        self._experiment_name, self._run_name, self._parent = experiment_name, run_name, parent
        self._given_uri, self._tags, self._note = tracking_uri, dict(tags or {}), note
        self._checkpoints, self._flush_seconds = checkpoints, flush_seconds
        self._most_bytes = most_megabytes << 20
        self._is_shared = False  # whether all processes know the uid
        self._spool: RunSpool | None = None
        self._process = 0
        self._logged_checkpoints: dict[str, tuple[int, int]] = {}  # the inode and time of each, by its artifact path

    # -- Lightning's interface ----------------------------------------------------------------------------------------

    @property
    def experiment(self) -> Any:
        """The logger itself on process 0, and something that does nothing on the others.

        Lightning asks for it on every process when a fit is set up; then process 0 tells the others the uid.
        """
        if not self._is_shared and torch.distributed.is_available() and torch.distributed.is_initialized():
            shared = [self.uid, self._experiment_name]
            torch.distributed.broadcast_object_list(shared, src=0)
            self.uid, self._experiment_name = shared
            self._is_shared = True
        if _rank() != 0:
            return _DummyExperiment()
        self._open()
        return self

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._experiment_name

    @property
    def version(self) -> str:
        """The run's uid."""
        return self.uid

    @property
    def save_dir(self) -> str:
        """The folder of the checkpoints: `<save_dir>/<experiment>/<uid>/checkpoints`."""
        return str(self.store.checkpoints)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs metrics at a step."""
        self._log(Metrics(int(step or 0), _floats(metrics)))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Logs parameters; nested ones get dotted names, secrets are masked."""
        self._log(Params(flat_params(vars(params) if isinstance(params, Namespace) else params)))

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Logs the checkpoints that the policy selects, and makes the log as durable as they are."""
        spool = self._open()
        selected = _selected_checkpoints(self._checkpoints, checkpoint_callback)
        wanted = {f"{names.CHECKPOINTS}/{file.name}": file for file in selected}
        for path in [path for path in self._logged_checkpoints if path not in wanted]:
            del self._logged_checkpoints[path]
            spool.remove_file(path)
        for path, file in wanted.items():
            version = (file.stat().st_ino, file.stat().st_mtime_ns)
            if self._logged_checkpoints.get(path) != version:
                self._logged_checkpoints[path] = version
                spool.add_file(file, path, is_replaced=True)
        spool.sync()

    def finalize(self, status: str = "success") -> None:
        """Logs how the run has ended, and waits a while for delivery."""
        if self._spool is None or self._process != os.getpid():
            return
        if _rank() != 0:  # the first process of another machine, which has logged that machine's metrics
            self._spool.finish(End(None), 0)
            return
        if status == "finished":  # from the handler of a scheduler's signal: the job is requeued, the run continues
            self._spool.sync()
            return
        end = ending(status, sys.exc_info()[1])
        backlog = self._spool.finish(end, self._longest_wait(end))
        for warning in end_warnings(backlog, self._spool):
            rank_zero_warn(f"Run {self.uid}: {warning}")

    # -- what our callbacks use beyond that ---------------------------------------------------------------------------

    def log_node_metrics(self, metrics: Mapping[str, float], node: int, nodes: int) -> None:
        """Logs metrics of a machine, on any one process of it: `utilisation` becomes `system/utilisation`.

        With several machines it becomes `system/<node>/utilisation`. The step is the seconds since the run began.
        """
        prefix = f"{names.SYSTEM}{node}/" if nodes > 1 else names.SYSTEM
        step = max(0, int(time.time()) - start_of(self.uid))
        self._open(node).append(Metrics(step, {f"{prefix}{name}": value for name, value in _floats(metrics).items()}))

    @property
    def spool_folder(self) -> SpoolFolder:
        """The folder of the run's spool."""
        return self._folder()

    @property
    def features_dir(self) -> Path:
        """The folder of features that are cached for later runs."""
        return self.store.features

    @rank_zero_only
    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Logs a file as it is now, in a folder of the run's artifacts."""
        self._open().add_file(Path(path), f"{folder}/{Path(path).name}" if folder else Path(path).name)

    @rank_zero_only
    def log_text(self, text: str, name: str) -> None:
        """Logs a text as an artifact with a file name."""
        self._open().add_file(text.encode(), name)

    @rank_zero_only
    def log_figure(self, figure: "Figure", name: str) -> None:
        """Logs a figure of matplotlib as an artifact with a file name whose ending is the format."""
        content = io.BytesIO()
        figure.savefig(content, format=Path(name).suffix.lstrip(".") or "png")
        self._open().add_file(content.getvalue(), name)

    @rank_zero_only
    def log_dataset(self, name: str, context: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """Logs which data the run uses: a digest of their content, their place, and facts about them."""
        self._log(UsedDataset(name, context, digest, source, dict(profile)))

    @rank_zero_only
    def log_model(self, path: Path, metrics: Mapping[str, float], step: int) -> None:
        """Logs the file of the best weights so far: its content at the end of the run becomes the run's model.

        The metrics are logged as `best/<name>`, at the step at which they were reached.
        """
        file = Path(path).absolute()  # in the store relative to it, which may be moved before delivery
        is_inside = file.is_relative_to(self.store.root)
        place = str(file.relative_to(self.store.root) if is_inside else file)
        self._log(BestLogged(place, _floats(metrics), int(step)))

    @rank_zero_only
    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags of the run."""
        self._log(Tags({name: masked_text(str(text)) for name, text in tags.items()}))

    @rank_zero_only
    def log_note(self, markdown: str) -> None:
        """Adds a text to the run's description, in place of an earlier one."""
        self.log_tags({names.NOTE: "\n\n".join(text for text in (self._note, markdown) if text)})

    def ui_command(self) -> str:
        """The command that opens this run in the MLflow UI."""
        uri = tracking_address(self._given_uri, self.store)
        if uri is not None:
            return f"the MLflow UI of {without_password(uri)[0]}"
        folder = os.path.relpath(self.store.root)
        place = [] if folder == "mlruns" else ["--store", folder]
        return shlex.join(["plt-nn", "ui", *place, "--run", self.uid])

    # -- the run ------------------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None until the run is in MLflow."""
        return load_state(self._folder().state).run_id

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the experiment; None until the run is in MLflow."""
        return load_state(self._folder().state).experiment_id

    def resume_run(self, uid: str, experiment_name: str) -> None:
        """Continues a run instead of beginning one; to be called before anything is logged."""
        assert self._spool is None, "a run has begun"
        self.uid, self._experiment_name, self._is_resumed = uid, experiment_name, True

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to this process: the processes of `ddp_spawn` get the logger by pickle."""
        return self.__dict__ | {"_spool": None}

    def _longest_wait(self, end: End) -> float:
        """How many seconds the end of a fit may wait for delivery."""
        if end.status == "FINISHED":
            return self._flush_seconds
        # Lightning kills the first process when another one has ended before it.
        most = 0.0 if torch.distributed.is_available() and torch.distributed.is_initialized() else _AFTER_INTERRUPT
        return min(self._flush_seconds, most)

    def _log(self, event: Event) -> None:
        self._open().append(event)

    def _folder(self, node: int = 0) -> SpoolFolder:
        return SpoolFolder(self.store.spool / (self.uid if node == 0 else f"{self.uid}.node{node}"))

    def _open(self, node: int = 0) -> RunSpool:
        if self._spool is None or self._process != os.getpid():  # a forked process has its own
            self._spool, self._process = self._new_spool(node), os.getpid()
        return self._spool

    def _new_spool(self, node: int) -> RunSpool:
        uri = tracking_address(self._given_uri, self.store)
        address, login = without_password(uri) if uri is not None else (None, {})
        tags = environment_tags() | ({names.NOTE: self._note} if self._note else {}) | self._tags
        begin = Begin(
            self.uid, self._experiment_name, self._run_name, address, tags, self._parent, self._is_resumed, node
        )
        spool = RunSpool(self._folder(node), begin, self._most_bytes, login)
        if node == 0 and (diff := git_diff()):
            spool.add_file(diff.encode(), names.DIFF_FILE)
        return spool


def _rank() -> int:
    return int(getattr(rank_zero_only, "rank", 0))  # where Lightning stores it


def _floats(metrics: Mapping[str, float]) -> dict[str, float]:
    return {str(name): float(value) for name, value in metrics.items()}


def _selected_checkpoints(policy: CheckpointPolicy, callback: ModelCheckpoint) -> list[Path]:
    """The files that a policy selects, of those that a callback, which has just saved, has on disk."""
    selected: list[str] = []
    if policy == "best" and callback.monitor is not None:
        selected = [callback.best_model_path]
    elif policy == "all":
        selected = [*callback.best_k_models, callback.best_model_path]
    if policy in ("last", "all"):
        selected.append(callback.last_model_path or _newest(callback))  # the first only with `save_last`
    return [path for path in map(Path, dict.fromkeys(filter(None, selected))) if path.is_file()]


def _newest(callback: ModelCheckpoint) -> str:
    """The file that the callback has just saved."""
    files = Path(callback.dirpath or "").rglob(f"*{callback.FILE_EXTENSION}")
    return max(((file.stat().st_mtime_ns, str(file)) for file in files), default=(0, ""))[1]


def _check_arguments(checkpoints: str, flush_seconds: float, most_megabytes: int, resume: str | None) -> None:
    faults: list[str] = []
    if checkpoints not in POLICIES:
        faults.append(f"checkpoints is {checkpoints!r}.{did_you_mean(str(checkpoints), POLICIES)}")
    if flush_seconds < 0:
        faults.append(f"flush_seconds is {flush_seconds}; expected 0 or more seconds.")
    if most_megabytes < 1:
        faults.append(f"most_megabytes is {most_megabytes}; expected 1 or more.")
    if resume is not None and not re.fullmatch(UID_PATTERN, resume):
        faults.append(f"resume is {resume!r}; expected the uid of a run, such as 20261124-133254-1f2e3d4c.")
    refuse("DurableMLFlowLogger", faults)

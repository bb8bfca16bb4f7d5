"""A Lightning logger for MLflow that never slows, blocks or kills a run, and loses nothing."""

import io
import os
import re
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.loggers.logger import _DummyExperiment
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.tracking import tags
from plt_nn.tracking.address import tracking_address
from plt_nn.tracking.checkpoint_files import POLICIES, Policy, wanted_checkpoints
from plt_nn.tracking.environment import environment_tags, git_diff
from plt_nn.tracking.masking import flat_params, masked_text
from plt_nn.tracking.run_end import how_it_ended, sentences
from plt_nn.tracking.run_spool import RunSpool, now
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.store import store_at
from plt_nn.tracking.uid import UID_PATTERN, began, new_uid
from plt_nn.tracking.upload.environment import without_password
from plt_nn.tracking.upload.state import load_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AFTER_INTERRUPT = 10.0  # seconds: a scheduler that has sent SIGTERM does not wait long, nor does a person


class DurableMLFlowLogger(Logger):
    """Logs to MLflow by way of a file: training never waits for a database or the network, and what is logged is safe.

    Process 0 appends what is logged to a file in `STORE/spool/`; a light process of its own delivers that to MLflow,
    tries again what fails, and ends when everything has arrived. A training process that is killed, a server that is
    down, hangs or refuses, and a machine that is restarted lose nothing: `plt-nn sync` delivers what is left. When a
    fit ends, the logger waits for delivery for a while and says what is left.

    A run has a name from its first moment, its `uid`, which is the logger's `version`: it names the folder of the
    checkpoints, is the same on every process, and is the tag `plt_nn.uid` of the run in MLflow.

    Args:
        experiment_name: The experiment, created when it does not exist.
        run_name: The run's name in the MLflow UI. Default: MLflow makes one up.
        store: The folder of the store, relative to the working directory.
        tracking_uri: The address of an MLflow server or database to use in the store's stead. Default: the environment
            variable `MLFLOW_TRACKING_URI`, read when the run begins, else the store. A server's login is taken from
            `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
        tags: More tags for the run.
        note: A text for the run's description, in Markdown.
        parent: The run of which this one is a child: its uid or MLflow's id.
        checkpoints: Which of the files of `ModelCheckpoint` are kept in MLflow: the `best` by the monitored value, the
            `last` (what resuming on another machine needs), `all` that are on disk, or `none`. The best weights of
            `BestLossStopping` are the run's model whatever this says.
        flush_seconds: How long the end of a fit waits for delivery at most; after an exception, Ctrl-C or SIGTERM no
            more than 10 seconds, and with several processes not at all.
        most_megabytes: How large the file may become; rows of metrics beyond that are lost, counted and told.
        resume: The uid of a run to go on with.

    Raises:
        ConfigError: For an argument that cannot be used; for an address of a folder of files, which MLflow has given
            up, with the command that migrates it.
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
        checkpoints: Policy = "best",
        flush_seconds: float = 30.0,
        most_megabytes: int = 2048,
        resume: str | None = None,
    ) -> None:
        super().__init__()
        self.store = store_at(store)
        _check_arguments(checkpoints, flush_seconds, most_megabytes, resume)
        if tracking_uri is not None:
            tracking_address(tracking_uri, self.store)  # so that a mistake is told at once
        self.uid = resume or new_uid()
        self._is_resumed = resume is not None
        self._experiment_name, self._run_name, self._parent = experiment_name, run_name, parent
        self._given_uri, self._tags, self._note = tracking_uri, dict(tags or {}), note
        self._checkpoints, self._flush_seconds = checkpoints, flush_seconds
        self._most_bytes = most_megabytes << 20
        self._agreed = False
        self._spool: RunSpool | None = None
        self._process = 0
        self._kept: dict[str, tuple[int, int]] = {}  # what was last kept of each checkpoint: its inode and time

    # -- what Lightning asks of a logger ------------------------------------------------------------------------------

    @property
    def experiment(self) -> Any:
        """The logger itself on process 0, and something that does nothing on the others.

        Lightning asks for it on every process when a fit is set up; there the processes agree on the run.
        """
        if not self._agreed and torch.distributed.is_available() and torch.distributed.is_initialized():
            shared = [self.uid, self._experiment_name]
            torch.distributed.broadcast_object_list(shared, src=0)
            self.uid, self._experiment_name = shared
            self._agreed = True
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
        values = {str(name): float(value) for name, value in metrics.items()}
        self._open().append({"kind": "metrics", "time": now(), "step": int(step or 0), "metrics": values})

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Logs parameters, nested ones by dotted names; secrets are masked."""
        flat = flat_params(vars(params) if isinstance(params, Namespace) else params)
        self._open().append({"kind": "params", "params": flat})

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Keeps the checkpoints that the policy asks for, and makes the log as durable as they are."""
        spool = self._open()
        wanted = {f"{tags.CHECKPOINTS}/{p.name}": p for p in wanted_checkpoints(self._checkpoints, checkpoint_callback)}
        for path in [path for path in self._kept if path not in wanted]:
            del self._kept[path]
            spool.remove_file(path)
        for path, file in wanted.items():
            found = (file.stat().st_ino, file.stat().st_mtime_ns)
            if self._kept.get(path) != found:
                self._kept[path] = found
                spool.add_file(file, path, is_replaced=True)
        spool.sync()

    def finalize(self, status: str = "success") -> None:
        """Says how the run has ended, and waits for delivery for a while."""
        if self._spool is None or self._process != os.getpid():
            return
        if _rank() != 0:  # a machine of its own, which has logged how it fares
            self._spool.finish(None, None, 0)
            return
        if status == "finished":  # said in a signal handler as a scheduler is about to end the job: it goes on later
            self._spool.sync()
            return
        ended, reason = how_it_ended(status, sys.exc_info()[1])
        left = self._spool.finish(ended, reason, self._patience(ended))
        for sentence in sentences(left, self._spool):
            rank_zero_warn(f"Run {self.uid}: {sentence}")

    # -- what our callbacks ask beyond that ---------------------------------------------------------------------------

    def log_node_metrics(self, metrics: Mapping[str, float], node: int, nodes: int) -> None:
        """Logs metrics of a machine, on any one process of it: `utilisation` becomes `system/utilisation`.

        With several machines it becomes `system/<node>/utilisation`. The step is the seconds since the run began.
        """
        prefix = f"{tags.SYSTEM}{node}/" if nodes > 1 else tags.SYSTEM
        values = {f"{prefix}{name}": float(value) for name, value in metrics.items()}
        step = max(0, int(time.time()) - began(self.uid))
        self._open(node).append({"kind": "metrics", "time": now(), "step": step, "metrics": values})

    @property
    def spool_folder(self) -> SpoolFolder:
        """Where what was logged lies on disk."""
        return self._folder()

    @property
    def features_dir(self) -> Path:
        """The folder of features that are kept for later runs."""
        return self.store.features

    @rank_zero_only
    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keeps a file as it is now with the run, in a folder of its artifacts."""
        self._open().add_file(Path(path), f"{folder}/{Path(path).name}" if folder else Path(path).name)

    @rank_zero_only
    def log_text(self, text: str, name: str) -> None:
        """Keeps a text with the run, under a file name."""
        self._open().add_content(text.encode(), name)

    @rank_zero_only
    def log_figure(self, figure: "Figure", name: str) -> None:
        """Keeps a figure of matplotlib with the run, under a file name whose ending is the format."""
        content = io.BytesIO()
        figure.savefig(content, format=Path(name).suffix.lstrip(".") or "png")
        self._open().add_content(content.getvalue(), name)

    @rank_zero_only
    def log_dataset(self, name: str, context: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """Says which data the run has used: a digest of its content, where it lies, and facts about it."""
        facts = {"name": name, "context": context, "digest": digest, "source": source, "profile": dict(profile)}
        self._open().append({"kind": "dataset", **facts})

    @rank_zero_only
    def log_model(self, path: Path, metrics: Mapping[str, float], step: int) -> None:
        """Names the file of the best weights so far: what it holds when the run ends becomes the run's model.

        The metrics are logged as `best/<name>`, at the step at which they were reached.
        """
        values = {str(name): float(value) for name, value in metrics.items()}
        file = Path(path).absolute()  # within the store relative to it, for that may be moved before it is delivered
        inside = file.is_relative_to(self.store.root)
        where = {"file": str(file.relative_to(self.store.root) if inside else file), "step": int(step)}
        self._open().append({"kind": "model", "time": now(), **where, "metrics": values})

    @rank_zero_only
    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags of the run."""
        told = {name: masked_text(str(text)) for name, text in tags.items()}
        self._open().append({"kind": "tags", "tags": told})

    @rank_zero_only
    def log_note(self, markdown: str) -> None:
        """Puts a text under the run's description, in place of an earlier one."""
        self.log_tags({tags.NOTE: "\n\n".join(text for text in (self._note, markdown) if text)})

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
        """MLflow's id of the run, as soon as the run is there; None before that."""
        return load_state(self._folder().state).run_id

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the experiment, as soon as the run is there; None before that."""
        return load_state(self._folder().state).experiment_id

    def go_on_with(self, uid: str, experiment_name: str) -> None:
        """Goes on with a run in place of beginning one. To be called before anything is logged."""
        assert self._spool is None, "a run has begun"
        self.uid, self._experiment_name, self._is_resumed = uid, experiment_name, True

    def _patience(self, ended: str) -> float:
        """How many seconds the end of a fit may wait for delivery."""
        if ended == "FINISHED":
            return self._flush_seconds
        # Lightning kills the first process when another one has ended before it.
        most = 0.0 if torch.distributed.is_available() and torch.distributed.is_initialized() else _AFTER_INTERRUPT
        return min(self._flush_seconds, most)

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to this process: the processes of `ddp_spawn` get the logger by pickle."""
        return self.__dict__ | {"_spool": None}

    def _folder(self, node: int = 0) -> SpoolFolder:
        return SpoolFolder(self.store.spool / (self.uid if node == 0 else f"{self.uid}.node{node}"))

    def _open(self, node: int = 0) -> RunSpool:
        if self._spool is None or self._process != os.getpid():  # a forked process has its own
            self._spool, self._process = self._begun(node), os.getpid()
        return self._spool

    def _begun(self, node: int) -> RunSpool:
        uri = tracking_address(self._given_uri, self.store)
        address, login = without_password(uri) if uri is not None else (None, {})
        note = {tags.NOTE: self._note} if self._note else {}
        beginning = {
            "experiment": self._experiment_name,
            "run_name": self._run_name,
            "uri": address,
            "tags": environment_tags() | note | self._tags,
            "parent": self._parent,
            "resumed": self._is_resumed,
        }
        spool = RunSpool(self._folder(node), beginning, node, self._most_bytes, login)
        if node == 0 and (diff := git_diff()):
            spool.add_content(diff.encode(), tags.DIFF_FILE)
        return spool


def _rank() -> int:
    return int(getattr(rank_zero_only, "rank", 0))  # where Lightning keeps it


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
    if faults:
        raise ConfigError(" ".join(faults))

"""The verbs of LightningCLI: fit, validate, test, predict."""

import logging
import sys
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import yaml
from jsonargparse import ArgumentError
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed

from plt_nn.callbacks import (
    DatasetInputs,
    DeployableModel,
    FitCosts,
    FitSummary,
    FrozenFeatureCache,
    LoadWeights,
    PredictionTable,
    SignalsBetweenSteps,
    StepSeeds,
    StepTimes,
    SystemMetrics,
    TrainingView,
    ValidationFigures,
)
from plt_nn.callbacks.lightning.connectors import requeued_checkpoint
from plt_nn.cli.check import check_config_files
from plt_nn.cli.own_classes import find_classes_here
from plt_nn.cli.parser_errors import plain_message
from plt_nn.cli.resume import without_resume
from plt_nn.errors import ConfigError, PltNNError, WeightsError
from plt_nn.reports import RunReport
from plt_nn.tracking import DurableMLFlowLogger, masked, tags
from plt_nn.tracking.resume import RUN_KEY, Resumable, run_of_checkpoint

STRICT = {"exit_on_error": False, "allow_abbrev": False}
_OF_EVERY_FIT = (
    DatasetInputs,
    FitCosts,
    FitSummary,
    FrozenFeatureCache,
    SignalsBetweenSteps,
    StepSeeds,
    StepTimes,
    SystemMetrics,
    ValidationFigures,
    RunReport,  # tells what the others have shown
)
PLAIN = "--plain"
TRAINER_VERBS = ("fit", "validate", "test", "predict")


def run(argv: list[str]) -> int:
    """Runs one of the verbs.

    Args:
        argv: The verb and its words.

    Raises:
        ConfigError: For a mistake in the call or the configuration.
    """
    is_plain = PLAIN in argv
    argv, resumed = without_resume([word for word in argv if word != PLAIN])
    find_classes_here()
    check_config_files(argv)
    hush()
    sys.argv[1:] = argv  # LightningCLI reads them there, and so do the processes that a distributed run starts
    try:
        TrainCLI(
            resumed,
            is_plain,
            save_config_callback=_LogConfig,
            save_config_kwargs={"save_to_log_dir": False},
            seed_everything_default=0,
            trainer_defaults={"enable_autolog_hparams": False},  # the whole configuration is logged
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={"prog": "plt-nn", **STRICT} | {verb: dict(STRICT) for verb in TRAINER_VERBS},
        )
    except ArgumentError as error:
        raise ConfigError(plain_message(str(error))) from error
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split())) from error
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()  # left to the interpreter's end, its threads now and then abort the process
    return 0


def hush() -> None:
    """Silences what whoever runs plt-nn can do nothing about."""
    # Lightning calls what torch and jsonargparse have renamed.
    warnings.filterwarnings("ignore", message="(?s).*instantiate_classes")
    warnings.filterwarnings("ignore", message=".*treespec.*")
    # Advice to install another logger, and MLflow's account of how it sets its own store up.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "litlogger" not in record.msg)
    for name in ("mlflow.store.db.utils", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)


class TrainCLI(LightningCLI):
    """LightningCLI with our defaults: the MLflow logger, a checkpoint to resume from, and the summary.

    Args:
        resumed: The run to go on with.
        is_plain: Whether progress is told in lines in a terminal too.
        options: Those of LightningCLI.
    """

    def __init__(self, resumed: Resumable | None = None, is_plain: bool = False, **options: Any) -> None:
        self._resumed, self._is_plain = resumed, is_plain
        super().__init__(**options)

    def _parse_ckpt_path(self) -> None:
        # LightningCLI would let the checkpoint's hyperparameters overrule the configuration.
        pass

    def instantiate_classes(self) -> None:
        """Makes the classes, and turns what their constructors refuse into our errors."""
        try:
            super().instantiate_classes()
        except PltNNError:
            raise
        except ValueError as error:  # jsonargparse packs what a constructor raises into errors of its own
            raise _packed(error) or ConfigError(plain_message(str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Makes the trainer with our logger and callbacks."""
        config = self._get(self.config_init, "trainer")
        if config.logger is None:
            wanted = self.subcommand == "fit" and not config.fast_dev_run
            kwargs["logger"] = DurableMLFlowLogger(self._experiment()) if wanted else False
        given = config.callbacks or []
        given = given if isinstance(given, list) else [given]
        kwargs["callbacks"] = [*given, *self._extra_callbacks(given)]
        trainer = super().instantiate_trainer(**kwargs)
        if (run := self._run_to_go_on_with(trainer)) is not None:
            for logger in trainer.loggers:
                if isinstance(logger, DurableMLFlowLogger):
                    logger.resume_run(*run)
        return trainer

    def _run_to_go_on_with(self, trainer: Trainer) -> tuple[str, str] | None:
        """The uid and the experiment of the run that this fit continues, if it does.

        A scheduler that has put a job back into its queue starts it with the same words; Lightning then goes on from
        the checkpoint that it made when the job was told to end.
        """
        if self.subcommand != "fit":
            return None
        if self._resumed is not None:
            return self._resumed.uid, self._resumed.experiment
        requeued = requeued_checkpoint(trainer)
        if requeued is None or not SLURMEnvironment.detect() or self._get(self.config, "ckpt_path") is not None:
            return None
        return run_of_checkpoint(requeued)

    def _extra_callbacks(self, given: list[Callback]) -> list[Callback]:
        config = self._get(self.config_init, "trainer")
        extra: list[Callback] = [PredictionTable()] if self.subcommand == "predict" else []
        if config.enable_progress_bar is not False and not any(isinstance(c, ProgressBar) for c in given):
            extra.append(TrainingView(plain=self._is_plain))
        if self.subcommand == "fit":
            extra += [kind() for kind in _OF_EVERY_FIT if not any(isinstance(c, kind) for c in given)]
            if not any(isinstance(callback, DeployableModel) for callback in given):
                extra.append(DeployableModel(self._net()))
            wants_checkpoints = config.enable_checkpointing is not False and not config.fast_dev_run
            if wants_checkpoints and not any(isinstance(callback, ModelCheckpoint) for callback in given):
                extra.append(ModelCheckpoint(filename="last", save_on_exception=True, enable_version_counter=False))
            elif wants_checkpoints and not any(getattr(callback, "save_on_exception", False) for callback in given):
                extra.append(_interrupted())  # so that Ctrl-C or a scheduler's SIGTERM lose no more than a step
        if weights := self._weights():
            extra.append(LoadWeights(str(weights)))
        return extra

    def _net(self) -> dict[str, Any] | None:
        """How the configuration makes the net, as plain values."""
        model = (
            yaml.safe_load(self.parser.dump(self.config, skip_unset=False)).get(self.subcommand, {}).get("model", {})
        )
        net = (model.get("init_args") or {}).get("net") if isinstance(model, dict) else None
        return net if isinstance(net, dict) and isinstance(net.get("class_path"), str) else None

    def _weights(self) -> Path | None:
        path = self._get(self.config, "ckpt_path")
        return Path(path) if path is not None and str(path).endswith(".safetensors") else None

    def _experiment(self) -> str:
        if self._resumed is not None:
            return self._resumed.experiment
        files = self._get(self.config, "config") or []
        return Path(str(files[0])).stem if files else "default"

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand != "fit" and kwargs.get("ckpt_path") is None:
            rank_zero_warn(
                f"{subcommand}: the net is as the configuration makes it; --ckpt_path gives trained weights."
            )
        if self._weights():
            kwargs["ckpt_path"] = None
        elif (path := kwargs.get("ckpt_path")) is not None and not Path(path).is_file():
            raise WeightsError(
                f"There is no checkpoint {path}; --ckpt_path takes the path of a .ckpt or .safetensors file."
            )
        return kwargs

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except UnpicklingError as error:
            raise WeightsError(
                f"{self._get(self.config, 'ckpt_path')} is no checkpoint that can be read safely: it is damaged, or "
                "holds more than tensors and plain values."
            ) from error
        except SIGTERMException as error:  # a SystemExit without a status
            raise SystemExit(143) from error
        except SystemExit as error:
            if self.trainer.interrupted:  # Lightning turns Ctrl-C into exit status 1
                raise KeyboardInterrupt from error
            raise


def _interrupted() -> ModelCheckpoint:
    """A checkpoint for an end by an exception alone."""
    name: Any = {"filename": "interrupted", "enable_version_counter": False}
    return ModelCheckpoint(save_on_exception=True, every_n_epochs=0, every_n_train_steps=0, **name)


def _packed(error: BaseException | None) -> PltNNError | None:
    while error is not None and not isinstance(error, PltNNError):
        error = error.__cause__
    return error


class _LogConfig(SaveConfigCallback):
    """Logs the resolved configuration, as YAML that can be run again and as parameters."""

    parser: LightningArgumentParser

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        resolved = masked(yaml.safe_load(self.parser.dump(self.config, skip_unset=False)))
        data: Any = getattr(trainer, "datamodule", None)
        facts = {"dataset": data.describe()} if hasattr(data, "describe") else {}  # Lightning has set it up by now
        for logger in trainer.loggers:
            if isinstance(logger, DurableMLFlowLogger):
                text = yaml.safe_dump(resolved, sort_keys=False)
                logger.log_text(text, tags.CONFIG_FILE)
                folder = Path(logger.save_dir, logger.name, logger.version)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / tags.CONFIG_FILE).write_text(text)  # for resuming
                logger.log_hyperparams({key: value for key, value in resolved.items() if value is not None} | facts)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Says in a checkpoint which run has made it: a scheduler's lies outside the run's folder."""
        for logger in trainer.loggers:
            if isinstance(logger, DurableMLFlowLogger):
                checkpoint[RUN_KEY] = {"uid": logger.uid, "experiment": logger.name}

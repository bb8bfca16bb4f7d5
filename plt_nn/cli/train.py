"""The verbs of LightningCLI: fit, validate, test, predict."""

import logging
import sys
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import yaml
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed

from plt_nn.callbacks import LoadWeights
from plt_nn.callbacks.lightning.connectors import requeued_checkpoint
from plt_nn.cli.check import check_config_files
from plt_nn.cli.default_callbacks import default_callbacks
from plt_nn.cli.parser_errors import plain_errors, plain_message
from plt_nn.cli.resume import without_resume
from plt_nn.errors import ConfigError, PltNNError, WeightsError
from plt_nn.tracking import DurableMLFlowLogger, masked, tags
from plt_nn.tracking.resume import RUN_KEY, Resumable, run_of_checkpoint

TRAINER_VERBS = ("fit", "validate", "test", "predict")
_STRICT = {"exit_on_error": False, "allow_abbrev": False}
CLI_OPTIONS: dict[str, Any] = {
    "auto_configure_optimizers": False,
    "load_from_checkpoint_support": False,
    "parser_kwargs": {"prog": "plt-nn", **_STRICT} | {verb: dict(_STRICT) for verb in TRAINER_VERBS},
}
PLAIN = "--plain"


def run(argv: list[str]) -> int:
    """Runs one of the verbs.

    Raises:
        ConfigError: For a mistake in the call or the configuration.
    """
    is_plain = PLAIN in argv
    argv, resumed = without_resume([word for word in argv if word != PLAIN])
    find_classes_here()
    check_config_files(argv)
    silence()
    sys.argv[1:] = argv  # LightningCLI reads them there, and so do the processes that a distributed run starts
    with plain_errors():
        TrainCLI(
            resumed,
            is_plain,
            save_config_callback=_LogConfig,
            save_config_kwargs={"save_to_log_dir": False},
            seed_everything_default=0,
            trainer_defaults={"enable_autolog_hparams": False},  # the whole configuration is logged
            **CLI_OPTIONS,
        )
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()  # at the end of the interpreter its threads sometimes abort the process
    return 0


def find_classes_here() -> None:
    """Lets a configuration name classes in files of the working directory, after all that is installed.

    `python -m plt_nn` looks there by itself, the program `plt-nn` in its own folder.
    """
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)


def silence() -> None:
    """Silences messages that users of plt-nn can do nothing about."""
    # Lightning calls what torch and jsonargparse have renamed.
    warnings.filterwarnings("ignore", message="(?s).*instantiate_classes")
    warnings.filterwarnings("ignore", message=".*treespec.*")
    # Advice to install another logger, and MLflow's messages about setting up its store.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "litlogger" not in record.msg)
    for name in ("mlflow.store.db.utils", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)


class TrainCLI(LightningCLI):
    """LightningCLI with our defaults: the MLflow logger, a checkpoint to resume from, and the summary.

    Args:
        resumed: The run to continue.
        is_plain: Whether progress is printed in lines in a terminal too.
        options: Those of LightningCLI.
    """

    def __init__(self, resumed: Resumable | None = None, is_plain: bool = False, **options: Any) -> None:
        self._resumed, self._is_plain, self._checkpoint = resumed, is_plain, None
        super().__init__(**options)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Hides the checkpoint from LightningCLI, which would replace the configuration by its hyperparameters."""
        super().parse_arguments(parser, args)
        own = self.config[self.config.subcommand]
        self._checkpoint, own.ckpt_path = own.get("ckpt_path"), None

    def before_instantiate_classes(self) -> None:
        """Puts the checkpoint back."""
        self.config[self.config.subcommand].ckpt_path = self._checkpoint

    def instantiate_classes(self) -> None:
        """Makes the classes, and turns what their constructors refuse into our errors."""
        try:
            super().instantiate_classes()
        except PltNNError:
            raise
        except ValueError as error:  # jsonargparse wraps what a constructor raises in errors of its own
            raise _cause(error) or ConfigError(plain_message(str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Makes the trainer with our logger and callbacks."""
        config = self.trainer_config
        if config.logger is None:
            is_logged = self.subcommand == "fit" and not config.fast_dev_run
            kwargs["logger"] = DurableMLFlowLogger(self._experiment()) if is_logged else False
        given = self.given_callbacks()
        more = default_callbacks(str(self.subcommand), config, given, self._net(), self._is_plain)
        weights = [LoadWeights(str(self._checkpoint))] if self._has_weights() else []
        kwargs["callbacks"] = [*given, *more, *weights]
        trainer = super().instantiate_trainer(**kwargs)
        if (run := self._run_to_continue(trainer)) is not None:
            for logger in trainer.loggers:
                if isinstance(logger, DurableMLFlowLogger):
                    logger.resume_run(*run)
        return trainer

    @property
    def trainer_config(self) -> Any:
        """The arguments of the trainer, with the classes in them made."""
        return self.config_init[self.subcommand].trainer

    def given_callbacks(self) -> list[Callback]:
        """The callbacks of the configuration."""
        given = self.trainer_config.callbacks or []
        return given if isinstance(given, list) else [given]

    def fit(self, **arguments: Any) -> None:
        """Fits."""
        self._call("fit", arguments)

    def validate(self, **arguments: Any) -> None:
        """Measures on the validation data."""
        self._call("validate", arguments)

    def test(self, **arguments: Any) -> None:
        """Measures on the test data."""
        self._call("test", arguments)

    def predict(self, **arguments: Any) -> None:
        """Predicts."""
        self._call("predict", arguments)

    def _run_to_continue(self, trainer: Trainer) -> tuple[str, str] | None:
        """The uid and the experiment of the run that this fit continues, if it does.

        A scheduler that has put a job back into its queue starts it with the same words; Lightning then continues from
        the checkpoint that it made when the job was ended.
        """
        if self.subcommand != "fit":
            return None
        if self._resumed is not None:
            return self._resumed.uid, self._resumed.experiment
        requeued = requeued_checkpoint(trainer)
        if requeued is None or not SLURMEnvironment.detect() or self._checkpoint is not None:
            return None
        return run_of_checkpoint(requeued)

    def _net(self) -> dict[str, Any] | None:
        """How the configuration makes the net, as plain values."""
        resolved = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))
        model = resolved.get(self.subcommand, {}).get("model", {})
        net = (model.get("init_args") or {}).get("net") if isinstance(model, dict) else None
        return net if isinstance(net, dict) and isinstance(net.get("class_path"), str) else None

    def _has_weights(self) -> bool:
        """Whether the checkpoint is a file of weights alone."""
        return str(self._checkpoint).endswith(".safetensors")

    def _experiment(self) -> str:
        if self._resumed is not None:
            return self._resumed.experiment
        files = self.config[self.subcommand].get("config") or []
        return Path(str(files[0])).stem if files else "default"

    def _call(self, verb: str, arguments: dict[str, Any]) -> None:
        """Calls the trainer; its exceptions get our exit statuses and sentences."""
        path = self._checkpoint
        if verb != "fit" and path is None:
            rank_zero_warn(f"{verb}: the net is as the configuration makes it; --ckpt_path gives trained weights.")
        if self._has_weights():
            arguments["ckpt_path"] = None
        elif path is not None and not Path(path).is_file():
            raise WeightsError(f"There is no checkpoint {path}; --ckpt_path takes a .ckpt or .safetensors file.")
        try:
            getattr(self.trainer, verb)(**arguments)
        except UnpicklingError as error:
            raise WeightsError(
                f"{path} is no checkpoint that can be read safely: it is damaged, or holds more than tensors and plain "
                "values."
            ) from error
        except SIGTERMException as error:  # a SystemExit without a status
            raise SystemExit(143) from error
        except SystemExit as error:
            if self.trainer.interrupted:  # Lightning turns Ctrl-C into exit status 1
                raise KeyboardInterrupt from error
            raise


def _cause(error: BaseException | None) -> PltNNError | None:
    """The error of ours that another one was raised from, if there is one."""
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
        """Stores in a checkpoint which run has made it: that of a scheduler is outside the run's folder."""
        for logger in trainer.loggers:
            if isinstance(logger, DurableMLFlowLogger):
                checkpoint[RUN_KEY] = {"uid": logger.uid, "experiment": logger.name}

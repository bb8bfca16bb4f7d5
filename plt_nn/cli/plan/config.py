"""The plan of a configuration: it is read as `plt-nn fit` does, but nothing is trained, downloaded or logged."""

from collections.abc import Sequence
from itertools import pairwise
from pkgutil import resolve_name
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from plt_nn.advice.trial_trainers import quietly
from plt_nn.backbones import create_backbone
from plt_nn.callbacks import FreezingSchedule
from plt_nn.cli.check import check_config_files
from plt_nn.cli.parser_errors import plain_errors
from plt_nn.cli.plan.module import plan_of_module
from plt_nn.cli.train import CLI_OPTIONS, TrainCLI, find_classes_here, silence
from plt_nn.errors import ConfigError
from plt_nn.freezing import Phase
from plt_nn.freezing.costs.phase_costs import PlanCost

# The arguments of the trainer that decide how long a learning-rate schedule is; no other has an effect on a plan.
_SCHEDULE_ARGUMENTS = ("max_epochs", "max_steps", "limit_train_batches", "accumulate_grad_batches", "overfit_batches")


def plan_of_config(words: Sequence[str], phases: Sequence[Phase] | None) -> tuple[str, PlanCost]:
    """What the phases of a configuration train and cost, under a title.

    Args:
        words: The command line after the verb, as `plt-nn fit` takes it.
        phases: Phases in place of the configuration's.

    Raises:
        ConfigError: For faults of the configuration, or if it has no FreezingSchedule and there are no phases.
    """
    find_classes_here()
    check_config_files(words)
    silence()
    with plain_errors():
        cli = _PlanCLI(args=["fit", *words], save_config_callback=None, **CLI_OPTIONS)
    schedule = cli.schedule()
    if schedule is None and phases is None:
        raise ConfigError(
            "the configuration has no FreezingSchedule, so there is nothing to plan: all of the net is trained from "
            "the start. Add one to trainer.callbacks:\n"
            "    - class_path: plt_nn.FreezingSchedule\n"
            "      init_args: {phases: [{train: head}, {train: all, start: 3, lr_scale: 0.1}]}\n"
            'or try one out: --phases "head; all @3 lr_scale=0.1".'
        )
    if phases is None:
        assert schedule is not None
        phases = schedule.phases
    with quietly():
        nets, plan = plan_of_module(cli.trainer, cli.model, cli.datamodule, schedule.net if schedule else None, phases)
    return ", ".join([file for before, file in pairwise(words) if before == "--config"] + nets), plan


class _PlanCLI(TrainCLI):
    """Builds what a fit would be given, and a bare trainer on the CPU whatever the configuration asks for."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)  # LightningCLI's own warns that sys.argv says something else
        self.config.fit.trainer.logger = False
        self.config.fit.ckpt_path = None
        self.config.fit.seed_everything = False  # Lightning would print it, and no number of a plan is random
        _without_download(self.config.fit.model)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self.trainer_config
        arguments = {key: config[key] for key in _SCHEDULE_ARGUMENTS}
        if str(config.precision).endswith("-true"):  # the parameters themselves are of this type
            arguments["precision"] = config.precision
        off: dict[str, Any] = dict.fromkeys(
            ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
        )
        with quietly():
            return Trainer(accelerator="cpu", devices=1, plugins=[LightningEnvironment()], **arguments, **off)

    def schedule(self) -> FreezingSchedule | None:
        """The schedule among the callbacks."""
        return next((each for each in self.given_callbacks() if isinstance(each, FreezingSchedule)), None)

    def fit(self, **arguments: Any) -> None:
        """Nothing is trained."""


def _without_download(config: object) -> None:
    """Random weights in place of those that `create_backbone` would download; a file decides the number of classes."""
    if isinstance(config, Namespace):
        made = config.get("class_path")
        is_backbone = isinstance(made, str) and "." in made and resolve_name(made) is create_backbone
        if is_backbone and config.init_args.get("pretrained", True) is True:
            config.init_args.pretrained = False
        config = vars(config)
    if isinstance(config, dict | list):
        for inner in config.values() if isinstance(config, dict) else config:
            _without_download(inner)

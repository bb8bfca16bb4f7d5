"""The adapters of a schedule's phases in a LightningModule: inserted when it is complete, merged when the fit ends."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from plt_nn.callbacks.freezing.net_stages import net_stages
from plt_nn.callbacks.lightning.callback_order import all_callbacks
from plt_nn.errors import ConfigError, WeightsError
from plt_nn.freezing import Phase
from plt_nn.freezing.adapters.stage_adapters import Adapters, insert_adapters
from plt_nn.text import and_more


class PhaseAdapters(Callback):
    """Inserts the adapters that phases ask for, and at the very end of the fit merges them into the weights.

    Args:
        phases: The phases of the schedule.
        net: The attribute of the LightningModule that holds the net; see `net_stages`.
        before_end: Called with the module at the end of the fit, before adapters are merged.
    """

    def __init__(self, phases: Sequence[Phase], net: str | None, before_end: Callable[[LightningModule], None]) -> None:
        self.phases, self.net, self.before_end = phases, net, before_end
        self.inserted: Adapters | None = None
        self._is_waiting = False
        self._loading: RemovableHandle | None = None

    def begin(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Has the adapters inserted when the module is complete; does nothing if no phase asks for any.

        That is when Lightning calls `configure_model`: the module has its head for the data's classes, but neither its
        weights from a checkpoint, which holds the adapters' too, nor its optimizers. Outside of fits there are no
        adapters, and a checkpoint that holds some is refused.

        Raises:
            ConfigError: If a callback has copied the module without them.
        """
        if all(phase.adapt is None for phase in self.phases) or self._loading is not None:
            return
        typed_loosely: Any = pl_module  # torch has not typed the method
        before_loading = self._complete if stage == "fit" else _refuse
        self._loading = typed_loosely.register_load_state_dict_pre_hook(before_loading)
        if stage == "fit":
            _refuse_averaging(trainer)
            self._insert_at_configure_model(pl_module)

    def _insert_at_configure_model(self, pl_module: LightningModule) -> None:
        own = pl_module.configure_model

        def configure_model() -> None:
            own()
            if self.inserted is None:
                self.inserted = insert_adapters(pl_module, net_stages(pl_module, self.net), self.phases)
                _report_passed_over(self.inserted)

        pl_module.configure_model = configure_model  # type: ignore[method-assign]
        self._is_waiting = True

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restores the module's own structure."""
        self._end(pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restores the module's own structure."""
        self._end(pl_module)

    def _end(self, pl_module: LightningModule) -> None:
        self.before_end(pl_module)
        if self._is_waiting:
            pl_module.__dict__.pop("configure_model", None)
        if self._loading is not None:
            self._loading.remove()
        if self.inserted is not None:
            self.inserted.remove(pl_module)
        self.inserted, self._is_waiting, self._loading = None, False, None

    def _complete(self, module: nn.Module, state: dict[str, Tensor], *arguments: Any) -> None:
        """Lets a checkpoint with no or fewer adapters be loaded: the missing ones start without effect."""
        if self.inserted is not None:
            given, own = dict(state), module.state_dict().keys()
            state.clear()
            state.update(self.inserted.state_from_merged(module, given))
            state.update({name: tensor for name, tensor in given.items() if name in own})

    def exported_state(self, pl_module: LightningModule, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A state under the names without adapters, these merged into the weights."""
        return state if self.inserted is None else self.inserted.merged_state(pl_module, state)


def _report_passed_over(adapters: Adapters | None) -> None:
    if adapters is not None and adapters.passed_over:
        reasons = and_more((f"{layer} {reason}" for layer, reason in adapters.passed_over.items()), 3)
        rank_zero_info(f"These layers get no adapter and stay frozen: {reasons}.")


def _refuse_averaging(trainer: Trainer) -> None:
    for callback in all_callbacks(trainer):
        if isinstance(callback, WeightAveraging | StochasticWeightAveraging):
            raise ConfigError(
                f"A phase with `adapt` cannot be used with {type(callback).__name__}, which copies the net before it "
                "has adapters. Leave one of the two out."
            )


def _refuse(module: nn.Module, state: Mapping[str, Tensor], *arguments: Any) -> None:
    if any(".lora_A." in name for name in state):
        raise WeightsError(
            "This checkpoint was made during a fit with adapters and holds them unmerged: it is for resuming that fit. "
            "To validate, test or predict, load the `best.safetensors` of the run, which holds them merged, with "
            "`--ckpt_path` or the callback LoadWeights."
        )

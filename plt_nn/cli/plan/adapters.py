"""The adapters of the phases, put into a net that is there for a plan alone."""

from collections.abc import Sequence, Set

from torch import nn

from plt_nn.freezing import Phase
from plt_nn.freezing.adapters.stage_adapters import insert_adapters
from plt_nn.freezing.plan import StageLike


def with_adapters(
    module: nn.Module, stages: Sequence[StageLike], phases: Sequence[Phase]
) -> tuple[Sequence[StageLike], Sequence[Set[str]] | None]:
    """Puts the adapters of all phases into a module, in place.

    Args:
        module: The net, or the module that holds it.
        stages: Its stages from input to head.
        phases: The phases of the schedule.

    Returns:
        The stages with the adapters, and for each phase the names of the parameters that it trains; if no phase has
        adapters, the stages as they are and None.

    Raises:
        ConfigError: If the adapters do not go with the net, or peft is not installed.
    """
    adapters = insert_adapters(module, stages, phases)
    if adapters is None:
        return stages, None
    free = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    outside = free - {name for stage in adapters.stages for name in stage.parameters}
    return adapters.stages, [(trained | outside) & free for trained in adapters.trained]

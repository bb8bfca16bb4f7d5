"""Freezing schedules: the pure plan of the phases, the optimizer's groups, and the one file that freezes."""

from plt_nn.freezing.adapters.adapt import Adapt
from plt_nn.freezing.phases import Phase, parse_phases

__all__ = ["Adapt", "Phase", "parse_phases"]

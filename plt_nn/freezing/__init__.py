"""Freezing schedules: the pure plan, the optimizer's groups, and the one file that freezes."""

from plt_nn.freezing.apply import Condition, condition_of, freeze, hold, restore
from plt_nn.freezing.groups import apply_lr_factors, set_lr_factors, split_groups, unscale
from plt_nn.freezing.phases import Phase, parse_phases, phase_at
from plt_nn.freezing.plan import held_modules, trained_parameters

__all__ = [
    "Condition",
    "Phase",
    "apply_lr_factors",
    "condition_of",
    "freeze",
    "held_modules",
    "hold",
    "parse_phases",
    "phase_at",
    "restore",
    "set_lr_factors",
    "split_groups",
    "trained_parameters",
    "unscale",
]

"""Freezing schedules: the pure plan, the optimizer's groups, and the one file that freezes."""

from plt_nn.fingerprint.digest import differing, digests
from plt_nn.freezing.adapters.adapt import Adapt
from plt_nn.freezing.apply import (
    Condition,
    Frozen,
    condition_of,
    condition_since,
    freeze,
    hold,
    hold_buffers,
    normalisations,
    restore,
)
from plt_nn.freezing.groups import LR_FACTOR, STAGE, apply_lr_factors, set_lr_factors, split_groups, unscale
from plt_nn.freezing.phases import Phase, parse_phases, phase_at, start_steps
from plt_nn.freezing.plan import held_modules, trained_parameters
from plt_nn.freezing.rates import stage_factors, warmup_factor

__all__ = [
    "LR_FACTOR",
    "STAGE",
    "Adapt",
    "Condition",
    "Frozen",
    "Phase",
    "apply_lr_factors",
    "condition_of",
    "condition_since",
    "differing",
    "digests",
    "freeze",
    "held_modules",
    "hold",
    "hold_buffers",
    "normalisations",
    "parse_phases",
    "phase_at",
    "restore",
    "set_lr_factors",
    "split_groups",
    "stage_factors",
    "start_steps",
    "trained_parameters",
    "unscale",
    "warmup_factor",
]

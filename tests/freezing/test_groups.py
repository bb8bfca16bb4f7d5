"""Splitting an optimizer's groups changes nothing but the groups; factors multiply with any scheduler."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.optim._optim_factory import create_optimizer_v2, list_optimizers
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from torch.optim.swa_utils import SWALR

from plt_nn.errors import ConfigError
from plt_nn.freezing.groups import apply_lr_factors, set_lr_factors, split_groups

SCHEDULERS: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "step": lambda optimizer: StepLR(optimizer, 2, gamma=0.5),
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, 10),
    "exponential": lambda optimizer: ExponentialLR(optimizer, 0.9),
    "lambda": lambda optimizer: LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "one-cycle": lambda optimizer: OneCycleLR(optimizer, max_lr=0.1, total_steps=20),
    "cyclic": lambda optimizer: CyclicLR(optimizer, 0.01, 0.1, step_size_up=3, cycle_momentum=False),
    "multiplicative": lambda optimizer: MultiplicativeLR(optimizer, lambda step: 0.9),
    "multi-step": lambda optimizer: MultiStepLR(optimizer, [3, 6]),
    "constant": lambda optimizer: ConstantLR(optimizer, 0.3, total_iters=4),
    "polynomial": lambda optimizer: PolynomialLR(optimizer, 8, power=2),
    "warm restarts": lambda optimizer: CosineAnnealingWarmRestarts(optimizer, 3),
    "swa": lambda optimizer: SWALR(optimizer, swa_lr=0.03, anneal_epochs=4),
    "chained": lambda optimizer: ChainedScheduler([ConstantLR(optimizer, 0.5), ExponentialLR(optimizer, 0.9)]),
    "sequential": lambda optimizer: SequentialLR(
        optimizer, [LinearLR(optimizer, 0.1, total_iters=3), CosineAnnealingLR(optimizer, 10)], [3]
    ),
}


def two_groups(net: nn.Module) -> Optimizer:
    matrices = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in net.parameters() if parameter.ndim == 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return AdamW(groups, lr=0.01)


OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "sgd": lambda net: SGD(net.parameters(), lr=0.05, momentum=0.9),
    "adamw-two-groups": two_groups,
    "named": lambda net: SGD(net.named_parameters(), lr=0.05),
    "timm-lamb": lambda net: create_optimizer_v2(net, "lamb", lr=0.01),
}


def a_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def stage_of(net: nn.Module) -> Callable[[nn.Parameter], str]:
    names = {id(parameter): f"stage{name[0]}" for name, parameter in net.named_parameters()}
    return lambda parameter: names[id(parameter)]


def train(net: nn.Module, optimizer: Optimizer, scheduler: LRScheduler | ReduceLROnPlateau, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = net(torch.randn(16, 4, generator=generator)).square().mean()
        loss.backward()
        optimizer.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(1.0)
        else:
            scheduler.step()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_bit_for_bit_as_without_the_split(optimizer: str, scheduler: str) -> None:
    plain, split = a_net(), a_net()
    plain_optimizer, split_optimizer = OPTIMIZERS[optimizer](plain), OPTIMIZERS[optimizer](split)
    plain_scheduler, split_scheduler = SCHEDULERS[scheduler](plain_optimizer), SCHEDULERS[scheduler](split_optimizer)
    split_groups(split_optimizer, [split_scheduler], stage_of(split))
    assert len(split_optimizer.param_groups) > len(plain_optimizer.param_groups)
    assert {group["stage"] for group in split_optimizer.param_groups} == {"stage0", "stage2"}
    train(plain, plain_optimizer, plain_scheduler, 12)
    train(split, split_optimizer, split_scheduler, 12)
    for expected, found in zip(plain.parameters(), split.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


EVERY_OPTIMIZER: dict[str, Callable[[nn.Module, float], Optimizer]] = {
    **{
        f"torch {name}": lambda net, lr, made=made: made(net.parameters(), lr=lr)  # type: ignore[misc]
        for name, made in vars(torch.optim).items()
        # LBFGS has one group by its nature; Muon and SparseAdam take other parameters and gradients than this net has.
        if isinstance(made, type)
        and issubclass(made, Optimizer)
        and name not in ("Optimizer", "LBFGS", "Muon", "SparseAdam")
    },
    **{
        f"timm {name}": lambda net, lr, name=name: create_optimizer_v2(net, name, lr=lr, weight_decay=0.01)  # type: ignore[misc]
        for name in [*map(str, list_optimizers()), "lookahead_adamw"]
        # Those of bitsandbytes and apex need a GPU; Adahessian needs second derivatives.
        if not name.startswith(("bnb", "fused")) and name != "adahessian"
    },
}


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("name", EVERY_OPTIMIZER)
def test_every_optimizer_of_torch_and_timm_can_be_split_and_scaled(name: str) -> None:
    ends = []
    for lr, stages, factor in [(0.01, False, None), (0.01, True, None), (0.005, True, None), (0.01, True, 0.5)]:
        net = a_net()
        optimizer = EVERY_OPTIMIZER[name](net, lr)
        if stages:
            split_groups(optimizer, [], stage_of(net))
        if factor is not None:
            apply_lr_factors(optimizer)
            set_lr_factors(optimizer, {"stage0": factor, "stage2": factor})
        train(net, optimizer, LambdaLR(optimizer, lambda step: 1.0), 4)
        ends.append(nn.utils.parameters_to_vector(net.parameters()).detach())
    whole, split, half, scaled = ends
    assert torch.equal(whole, split)
    effect = (whole - scaled).abs().max()
    assert effect > 0
    # "Corrected" weight decay goes by the ratio to the optimizer's first learning rate, hence not bit for bit.
    assert (half - scaled).abs().max() <= 0.03 * effect


def test_plateau_keeps_its_minimum_for_each_group() -> None:
    net = a_net()
    optimizer = SGD(net.parameters(), lr=0.1)
    scheduler = ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.05])
    split_groups(optimizer, [scheduler], stage_of(net))
    train(net, optimizer, scheduler, 5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.05]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_factor_multiplies_the_step_and_no_scheduler_sees_it(scheduler: str) -> None:
    plain, scaled = a_net(), a_net()
    optimizers = [SGD(net.parameters(), lr=0.05) for net in (plain, scaled)]
    schedulers = [SCHEDULERS[scheduler](optimizer) for optimizer in optimizers]
    split_groups(optimizers[1], [schedulers[1]], stage_of(scaled))
    apply_lr_factors(optimizers[1])
    set_lr_factors(optimizers[1], {"stage0": 0.25, "stage2": 1.0})
    for step in range(10):
        before = [parameter.detach().clone() for parameter in plain.parameters()]
        for target, source in zip(scaled.parameters(), plain.parameters(), strict=True):
            target.data.copy_(source)
        train(plain, optimizers[0], schedulers[0], 1)
        train(scaled, optimizers[1], schedulers[1], 1)
        assert {group["lr"] for group in optimizers[1].param_groups} == {optimizers[0].param_groups[0]["lr"]}, step
        for number, (start, one, other) in enumerate(zip(before, plain.parameters(), scaled.parameters(), strict=True)):
            factor = 0.25 if number < 2 else 1.0
            torch.testing.assert_close(other - start, factor * (one - start), rtol=1e-4, atol=1e-7)


def test_a_step_cut_short_leaves_the_scheduled_rate() -> None:
    net = a_net()
    optimizer = SGD(net.parameters(), lr=0.1)
    split_groups(optimizer, [], stage_of(net))
    remove = apply_lr_factors(optimizer)
    set_lr_factors(optimizer, {"stage0": 0.5})

    def interrupted() -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(interrupted)
    remove()
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1]


def test_lbfgs_cannot_be_split() -> None:
    net = a_net()
    with pytest.raises(ConfigError, match="LBFGS keeps all parameters in one group"):
        split_groups(torch.optim.LBFGS(net.parameters()), [], stage_of(net))

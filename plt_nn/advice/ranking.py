"""Ranks candidates by linear probes on their features of the user's own images."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from plt_nn.advice.candidates import Candidate
from plt_nn.advice.collect import collect
from plt_nn.advice.images import Images
from plt_nn.advice.net_costs import NetCosts, net_costs
from plt_nn.advice.probes.depth import Depth, advised_depth, probe_depths
from plt_nn.advice.probes.halving import nested_order, rungs, survivors
from plt_nn.advice.probes.logme import logme
from plt_nn.advice.probes.probe import Labels, LinearProbe, is_worse, linear_probe, stratified_folds
from plt_nn.advice.probes.stage_features import LAST
from plt_nn.advice.processes import Processes
from plt_nn.backbones import stages
from plt_nn.errors import PltNNError
from plt_nn.features.cache_location import CacheLocation
from plt_nn.text import one_line

_FIRST, _FIRST_OF_A_CLASS = 120, 6  # samples of the first round: of all classes, and of a typical one
_SAMPLES, _OF_A_CLASS = 2_000, 10  # maximum number of samples by default: the accuracy is known to one percent


@dataclass(frozen=True)
class ScoredCandidate:
    """A candidate and its evidence.

    Args:
        candidate: The net and the size.
        samples: Number of samples of the evidence.
        logme: LogME of the last feature, a cheap score for comparison; more is better.
        seconds: Seconds of a forward pass per image.
        costs: The costs of the net.
        curve: Stage -> the probe on its features; empty for candidates that were dropped before the last round.
        depths: The evidence for each number of stages to train, from the head alone to all.
        in_last_round: Whether its evidence is from all samples.
    """

    candidate: Candidate
    samples: int
    logme: float
    seconds: float
    costs: NetCosts
    curve: Mapping[str, LinearProbe]
    depths: Sequence[Depth]
    in_last_round: bool

    @property
    def depth(self) -> Depth:
        """The advised number of stages to train."""
        return advised_depth(self.depths)

    @property
    def expected(self) -> LinearProbe:
        """The evidence at that depth."""
        return self.depth.probe


@dataclass(frozen=True)
class Ranking:
    """Candidates in order.

    Args:
        judged: The best first: those of the last round, then those that were dropped earlier.
        class_names: The classes.
        samples: Number of samples in the last round.
        of_samples: Number of all samples.
        left_out: Sentences that say what could not be tried or finished.
        computed: Number of images that went through a net.
        seconds: The time that the ranking took.
    """

    judged: Sequence[ScoredCandidate]
    class_names: Sequence[str]
    samples: int
    of_samples: int
    left_out: Sequence[str]
    computed: int
    seconds: float

    @property
    def best(self) -> ScoredCandidate:
        """The advised candidate."""
        return self.judged[0]

    def cannot_be_told_apart(self) -> list[ScoredCandidate]:
        """The candidates of the last round that are not significantly worse than the best, the cheapest first."""
        rivals = [
            one for one in self.judged[1:] if one.in_last_round and not is_worse(one.expected, self.best.expected)
        ]
        return sorted(rivals, key=lambda one: one.costs.forward or 0.0)


@dataclass(frozen=True)
class LabelledImages:
    """The training images; validation and test images are not used.

    Args:
        paths: The files.
        labels: The class of each, `(N,)`.
        class_names: The classes.
    """

    paths: Sequence[Path]
    labels: Labels
    class_names: Sequence[str]


def rank(
    candidates: Sequence[Candidate],
    data: LabelledImages,
    place: CacheLocation,
    device: str = "cpu",
    most_samples: int | None = None,
    budget: float = float("inf"),
    processes: Processes = Processes(),  # noqa: B008  # immutable
    say: Callable[[str, int, int], None] = lambda doing, done, total: None,
) -> Ranking:
    """Ranks candidates.

    Args:
        candidates: The candidates.
        data: The images.
        place: Where features are cached.
        device: The device of the nets.
        most_samples: Maximum number of images. Default: 2,000, and at least ten of each class.
        budget: Seconds after which nothing new begins. A round that is not finished does not count, because evidence
            from different numbers of images cannot be compared; in the first round, the cheap candidates are then
            ranked without the others.
        processes: The processes that share the work.
        say: Called with what is being done, the number of images that are done, and the number of all.
    """
    began = time.monotonic()
    order = nested_order(data.labels)[: most_samples or max(_SAMPLES, _OF_A_CLASS * len(data.class_names))]
    images = Images([data.paths[number] for number in order])
    work = _Work(images, data.labels[order], place, device, budget, began, say)
    remaining, judged, left_out, computed = list(candidates), dict[Candidate, ScoredCandidate](), list[str](), 0
    least = max(_FIRST, _FIRST_OF_A_CLASS * len(data.class_names))
    sizes = rungs(len(order), least) if len(remaining) > 1 else [len(order)]
    for size in sizes:
        in_turn = sorted(remaining, key=lambda one: one.size or 224, reverse=budget == float("inf"))
        costs = {one: found.costs for one, found in judged.items()}
        mine = [work.judge(one, size, size == sizes[-1], costs.get(one)) for one in processes.share(in_turn)]
        done = processes.gathered(mine)
        computed += sum(found.computed for found in done)
        left_out += [found.trouble for found in done if found.trouble]
        if judged and any(found.is_late for found in done):
            left_out.append(f"The round on {size} images was not finished: the order is that of the round before.")
            break
        fresh = {found.judged.candidate: found.judged for found in done if found.judged is not None}
        judged |= fresh
        remaining = survivors({one: found.expected for one, found in fresh.items()})
        if not remaining or any(processes.gathered([work.is_over()])):  # all processes go on, or none
            break
    ranked = sorted(judged.values(), key=lambda one: (-one.samples, one.expected.log_loss))
    last = max((one.samples for one in ranked), default=0)
    ranked = [replace(one, in_last_round=one.samples == last) for one in ranked]
    return Ranking(ranked, data.class_names, last, len(data.paths), left_out, computed, time.monotonic() - began)


@dataclass(frozen=True)
class _Found:
    """The result of a candidate in a round."""

    judged: ScoredCandidate | None
    trouble: str
    computed: int
    is_late: bool = False


@dataclass(frozen=True)
class _Work:
    """What is the same for all candidates."""

    images: Images
    labels: Labels
    place: CacheLocation
    device: str
    budget: float
    began: float
    say: Callable[[str, int, int], None]

    def is_over(self) -> bool:
        return time.monotonic() - self.began > self.budget

    def judge(self, candidate: Candidate, samples: int, is_last: bool, costs: NetCosts | None) -> _Found:
        """Scores a candidate on the first samples; its costs are known from an earlier round, or measured."""
        if self.is_over():
            return _Found(None, f"{candidate}: not tried on {samples} images, for the time was over.", 0, True)
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self.say(str(candidate), done, samples)

        try:
            found = collect(candidate, self.images, torch.arange(samples), self.place, self.device, advance)
            features = {name: array.astype(np.float64) for name, array in found.stages.items()}
            labels = self.labels[:samples]
            folds = stratified_folds(labels)
            depths = probe_depths(features, labels, folds, [stage.name for stage in stages(found.net)[:-1]])
            curve = {name: linear_probe([array], labels, folds) for name, array in features.items()} if is_last else {}
        except (PltNNError, RuntimeError, ValueError, OSError) as error:  # the others go on
            return _Found(None, f"{candidate}: {one_line(error)}", 0)
        size = found.preprocessing.size
        costs = costs or net_costs(found.net, size if isinstance(size, int) else size[0])
        judged = ScoredCandidate(
            candidate, samples, logme(features[LAST], labels), found.seconds, costs, curve, depths, is_last
        )
        return _Found(judged, "", found.computed)

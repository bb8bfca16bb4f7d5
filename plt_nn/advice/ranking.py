"""Ranks candidates by linear probes on their features of the user's own images."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from plt_nn.advice.build import side_of
from plt_nn.advice.candidates import Candidate
from plt_nn.advice.collect import collect
from plt_nn.advice.halving import halving, nested_order, rungs
from plt_nn.advice.images import Images
from plt_nn.advice.net_costs import NetCosts, net_costs
from plt_nn.advice.probes.depth import Depth, advised_depth, probe_depths
from plt_nn.advice.probes.logme import logme
from plt_nn.advice.probes.probe import Labels, LinearProbe, is_worse, linear_probe, stratified_folds
from plt_nn.advice.probes.stage_features import LAST
from plt_nn.advice.processes import gathered
from plt_nn.backbones import stages
from plt_nn.data import ImageFolderData
from plt_nn.features.cache_location import CacheLocation

_FIRST, _FIRST_OF_A_CLASS = 120, 6  # samples of the first round: of all classes, and of a typical one
_SAMPLES, _OF_A_CLASS = 2_000, 10  # maximum number of samples by default: the accuracy is known to one percent


@dataclass(frozen=True)
class ScoredCandidate:
    """A candidate and its evidence.

    Args:
        candidate: The net and the size.
        size: Number of samples of the evidence.
        logme: LogME of the last feature, a cheap score for comparison; more is better.
        seconds: Seconds of a forward pass per image.
        costs: The costs of the net.
        curve: Stage -> the probe on its features; empty for candidates that were dropped before the last round.
        depths: The evidence for each number of stages to train, from the head alone to all.
    """

    candidate: Candidate
    size: int
    logme: float
    seconds: float
    costs: NetCosts
    curve: Mapping[str, LinearProbe]
    depths: Sequence[Depth]

    @property
    def depth(self) -> Depth:
        """The advised number of stages to train."""
        return advised_depth(self.depths)

    @property
    def expected(self) -> LinearProbe:
        """The evidence at that depth."""
        return self.depth.probe

    @property
    def loss(self) -> float:
        """The log-loss at that depth, in nats."""
        return self.expected.log_loss

    def is_worse(self, other: "ScoredCandidate") -> bool:
        """Whether it is significantly worse than another one on the same samples."""
        return is_worse(self.expected, other.expected)


@dataclass(frozen=True)
class Ranking:
    """Candidates in order.

    Args:
        judged: The best first: those of the last round, then those that were dropped earlier.
        class_names: The classes.
        of_samples: Number of all samples.
        left_out: Sentences that say what could not be tried or finished.
        computed: Number of images that went through a net.
        seconds: The time that the ranking took.
    """

    judged: Sequence[ScoredCandidate]
    class_names: Sequence[str]
    of_samples: int
    left_out: Sequence[str]
    computed: int
    seconds: float

    @property
    def best(self) -> ScoredCandidate:
        """The advised candidate."""
        return self.judged[0]

    @property
    def samples(self) -> int:
        """Number of samples in the last round."""
        return max((one.size for one in self.judged), default=0)

    def cannot_be_told_apart(self) -> list[ScoredCandidate]:
        """The candidates of the last round that are not significantly worse than the best, the cheapest first."""
        rivals = [one for one in self.judged[1:] if one.size == self.samples and not one.is_worse(self.best)]
        return sorted(rivals, key=lambda one: one.costs.forward or 0.0)


@dataclass(frozen=True)
class LabelledImages:
    """The files of the training images, and the class of each, `(N,)`; validation and test images are not used."""

    paths: Sequence[Path]
    labels: Labels
    class_names: Sequence[str]

    @classmethod
    def of(cls, data: ImageFolderData) -> "LabelledImages":
        """The training images of a folder that is set up."""
        labels = np.array([code for _, code in data.samples["train"]], dtype=np.int64)
        return cls(data.paths["train"], labels, data.class_names)


def rank(
    candidates: Sequence[Candidate],
    data: LabelledImages,
    place: CacheLocation,
    device: str = "cpu",
    most_samples: int | None = None,
    budget: float = float("inf"),
    say: Callable[[str, int, int], None] = lambda doing, done, total: None,
) -> Ranking:
    """Ranks candidates.

    Args:
        candidates: The candidates.
        data: The images.
        place: Where features are cached.
        device: The device of the nets.
        most_samples: Maximum number of images. Default: 2,000, and at least ten of each class.
        budget: Seconds after which nothing new begins; cheap candidates then come first (`halving`).
        say: Called with what is being done, the number of images that are done, and the number of all.
    """
    began = time.monotonic()
    order = nested_order(data.labels)[: most_samples or max(_SAMPLES, _OF_A_CLASS * len(data.class_names))]
    images, labels = Images([data.paths[number] for number in order]), data.labels[order]
    sizes = rungs(len(order), max(_FIRST, _FIRST_OF_A_CLASS * len(data.class_names)))
    computed = [0]

    def judge(candidate: Candidate, size: int, earlier: ScoredCandidate | None) -> ScoredCandidate:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            say(str(candidate), done, size)

        scored, number = _score(candidate, images, labels[:size], place, device, size == sizes[-1], earlier, advance)
        computed.append(number)
        return scored

    in_turn = sorted(candidates, key=lambda one: one.size or 224, reverse=budget == float("inf"))
    judged, left_out = halving(in_turn, sizes, judge, lambda: time.monotonic() - began > budget, "on {} images")
    total = sum(gathered(computed))
    return Ranking(judged, data.class_names, len(data.paths), left_out, total, time.monotonic() - began)


def _score(
    candidate: Candidate,
    images: Images,
    labels: Labels,
    place: CacheLocation,
    device: str,
    is_last: bool,
    earlier: ScoredCandidate | None,
    advance: Callable[[int], None],
) -> tuple[ScoredCandidate, int]:
    """The evidence from the first images, and the number of those that went through the net."""
    found = collect(candidate, images, torch.arange(len(labels)), place, device, advance)
    features = {name: array.astype(np.float64) for name, array in found.stages.items()}
    folds = stratified_folds(labels)
    depths = probe_depths(features, labels, folds, [stage.name for stage in stages(found.net)[:-1]])
    curve = {name: linear_probe([array], labels, folds) for name, array in features.items()} if is_last else {}
    costs = earlier.costs if earlier is not None else net_costs(found.net, side_of(found.preprocessing))
    evidence = logme(features[LAST], labels)
    return ScoredCandidate(candidate, len(labels), evidence, found.seconds, costs, curve, depths), found.computed

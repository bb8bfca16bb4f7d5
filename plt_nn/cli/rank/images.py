"""`plt-nn rank` for a folder of images: which pretrained net, at which size, and how many of its layers to train."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from plt_nn.advice.build import own_size
from plt_nn.advice.candidates import Candidate, candidates_of, find_nets
from plt_nn.advice.image_report import image_report
from plt_nn.advice.plans import Plan, measure_candidate, propose, worth_verifying
from plt_nn.advice.processes import device_of_process, process_group
from plt_nn.advice.ranking import LabelledImages, Ranking, rank
from plt_nn.advice.verify import Verified, fine_tune
from plt_nn.audit.audit import audit
from plt_nn.audit.tables import summary_lines
from plt_nn.cli.options import device_named, parse_duration, split_of
from plt_nn.cli.rank.output import finish, say
from plt_nn.data import ImageFolderData
from plt_nn.data.class_folders import survey_class_folders
from plt_nn.errors import refuse
from plt_nn.features.cache_location import CacheLocation
from plt_nn.tracking.store import store_at


def rank_images(arguments: Namespace, command: str) -> None:
    """Ranks pretrained nets, given the arguments of `image_parser` and the whole command line."""
    budget, store, split = parse_duration(arguments.budget), store_at(arguments.store), split_of(arguments)
    place = CacheLocation(store.features, arguments.megabytes * 1_000_000, 1_000_000_000)
    with process_group() as is_first:
        device = device_of_process(device_named(arguments.device))
        data = ImageFolderData(arguments.root, **split)
        data.setup("fit")
        images = LabelledImages.of(data)
        if is_first and not arguments.no_audit:  # no net can make up for serious faults of the files
            found = audit(arguments.root, survey_class_folders(arguments.root, **split))
            for line in summary_lines(found, most=3):
                say(line)
        ranking = _ranked(arguments, images, place, device, budget, is_first)
    if is_first:
        # Alone from here on: while there is a group, the metrics of a trial would wait for all of it.
        plans = [
            propose(scored, depth, measure_candidate(scored, images), len(images.paths))
            for scored, depth in worth_verifying(ranking, max(1, arguments.verify))
        ]
        verified = [_trial(plan, data, store.features, device) for plan in plans] if arguments.verify else []
        verified.sort(key=lambda one: one.loss)
        plan = verified[0].plan if verified else plans[0]
        finish(image_report(ranking, plan, verified, {"root": str(arguments.root), **split}, command), arguments, store)


def _ranked(
    arguments: Namespace, images: LabelledImages, place: CacheLocation, device: str, budget: float, is_first: bool
) -> Ranking:
    candidates, left_out = _candidates(arguments)
    with _progress(is_first) as show:
        ranking = rank(candidates, images, place, device, arguments.samples, budget, show)
    ranking = replace(ranking, left_out=[*left_out, *ranking.left_out])
    if not ranking.judged:
        refuse("the candidates", ranking.left_out)
    return ranking


def _candidates(arguments: Namespace) -> tuple[list[Candidate], list[str]]:
    words = [word for text in arguments.backbones or [] for word in text.split(",") if word]
    nets, left_out = find_nets(words, arguments.download)
    if arguments.controls:
        nets += [(name, False) for name, pretrained in nets if pretrained is not False]
    return candidates_of(nets, arguments.sizes, arguments.crops or [None], own_size), left_out


def _trial(plan: Plan, data: ImageFolderData, features: Path, device: str) -> Verified:
    say(f"Fine-tuning {plan.candidate}, {plan.depth.train} ...")
    return fine_tune(plan, data, features, device=device)


@contextmanager
def _progress(is_first: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Shows in one line how far a candidate is; only on a terminal."""
    console = Console(stderr=True)
    if not (is_first and console.is_terminal):
        yield lambda doing, done, total: None
        return
    with console.status("Looking for candidates ...") as status:
        yield lambda doing, done, total: status.update(f"{doing}: {done:,} of {total:,} images")

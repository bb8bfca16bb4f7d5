"""`plt-nn rank`: which pretrained net, at which size, and how many of its layers to train."""

import argparse
import json
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from plt_nn.cli.options import device_named, parse_duration, split_of
from plt_nn.cli.rank.options import parser, require_yaml
from plt_nn.cli.rank.output import say, say_where, write_configuration
from plt_nn.errors import refuse
from plt_nn.tracking.store import Store, store_at

if TYPE_CHECKING:
    from plt_nn.advice.candidates import Candidate
    from plt_nn.advice.plans import Plan
    from plt_nn.advice.processes import Processes
    from plt_nn.advice.ranking import LabelledImages, Ranking
    from plt_nn.advice.verify import Verified
    from plt_nn.data import ImageFolderData

_WIDTH = 132  # characters of a line where there is no terminal


def run(argv: list[str]) -> int:
    """Ranks candidates, and gives advice.

    Raises:
        ConfigError: For a candidate that does not exist, or an argument that cannot be used.
        DataError: For a folder that cannot be trained on.
    """
    if _is_in_memory(argv[1:]):
        from plt_nn.cli.rank import architectures as rank_architectures

        return rank_architectures.run(argv)
    arguments = parser().parse_args(argv[1:])
    require_yaml(arguments.write)
    from plt_nn.advice.processes import processes

    budget = parse_duration(arguments.budget)
    store = store_at(arguments.store)
    with processes() as others:
        device = others.device(device_named(arguments.device))
        data, labelled = _images(arguments)
        if others.is_first and not arguments.no_audit:
            _audit(arguments)
        ranking = _ranked(arguments, labelled, store, device, budget, others)
    if not others.is_first:
        return 0
    # The first process alone from here on: while there is a group, the metrics of a trial would wait for all of it.
    plan, verified = _advised(arguments, data, labelled, ranking, store, device)
    _show(arguments, shlex.join(["plt-nn", *argv]), ranking, plan, verified, store)
    return 0


def _is_in_memory(words: list[str]) -> bool:
    """Whether the data are tables or other tensors: a class of data, or its arguments, without a folder of images."""
    names = {word.partition("=")[0] for word in words}
    return "--data.root" not in names and bool(names & {"--data", "--data.path", "--data.class_path"})


def _ranked(
    arguments: argparse.Namespace,
    labelled: "LabelledImages",
    store: Store,
    device: str,
    budget: float,
    others: "Processes",
) -> "Ranking":
    from plt_nn.advice.ranking import rank
    from plt_nn.features.cache_location import CacheLocation

    candidates, left_out = _candidates(arguments)
    if not candidates:
        refuse("the candidates", left_out)
    place = CacheLocation(store.features, arguments.megabytes * 1_000_000, 1_000_000_000)
    with _Progress(others.is_first) as show:
        ranking = rank(candidates, labelled, place, device, arguments.samples, budget, others, show)
    ranking = replace(ranking, left_out=[*left_out, *ranking.left_out])
    if not ranking.judged:
        refuse("the candidates", ranking.left_out)
    return ranking


def _images(arguments: argparse.Namespace) -> "tuple[ImageFolderData, LabelledImages]":
    from plt_nn.advice.ranking import LabelledImages
    from plt_nn.data import ImageFolderData

    data = ImageFolderData(arguments.root, **split_of(arguments))
    data.setup("fit")
    labels = np.array([code for _, code in data.samples["train"]], dtype=np.int64)
    return data, LabelledImages(data.paths["train"], labels, data.class_names)


def _audit(arguments: argparse.Namespace) -> None:
    """Prints the most serious findings about the files: no net can make up for them."""
    from plt_nn.audit.audit import audit
    from plt_nn.audit.tables import summary_lines
    from plt_nn.data.class_folders import survey_class_folders

    folders = survey_class_folders(arguments.root, **split_of(arguments))
    for line in summary_lines(audit(arguments.root, folders), most=3):
        say(line)


def _candidates(arguments: argparse.Namespace) -> "tuple[list[Candidate], list[str]]":
    from plt_nn.advice.build import own_size
    from plt_nn.advice.candidates import candidates_of, find_nets

    words = [word for text in arguments.backbones or [] for word in text.split(",") if word]
    nets, left_out = find_nets(words, arguments.download)
    if arguments.controls:
        nets += [(name, False) for name, pretrained in nets if pretrained is not False]
    return candidates_of(nets, arguments.sizes, arguments.crops or [None], own_size), left_out


def _advised(
    arguments: argparse.Namespace,
    data: "ImageFolderData",
    labelled: "LabelledImages",
    ranking: "Ranking",
    store: Store,
    device: str,
) -> "tuple[Plan, list[Verified]]":
    """The plan, and what was verified."""
    from plt_nn.advice.plans import measure_candidate, propose, worth_verifying
    from plt_nn.advice.probes.halving import nested_order
    from plt_nn.advice.verify import by_outcome, verify

    rows = nested_order(labelled.labels).tolist()
    wanted = worth_verifying(ranking, max(1, arguments.verify))
    plans = [
        propose(judged, depth, measure_candidate(judged, labelled.paths, rows), len(labelled.paths))
        for judged, depth in wanted
    ]
    if not arguments.verify:
        return plans[0], []
    found = []
    for plan in plans:
        say(f"Fine-tuning {plan.candidate}, {plan.depth.train} ...")
        found.append(verify(plan, data, store.features, device=device))
    order = by_outcome(found)
    return order[0].plan, order


def _show(
    arguments: argparse.Namespace,
    command: str,
    ranking: "Ranking",
    plan: "Plan",
    verified: "list[Verified]",
    store: Store,
) -> None:
    from plt_nn.advice.recommended import as_yaml
    from plt_nn.advice.record import record
    from plt_nn.advice.tables import as_markdown, as_plain, as_text, reasons_of_choice

    folder = {"root": str(arguments.root), **split_of(arguments)}
    configuration = as_yaml(plan, folder, command, reasons_of_choice(ranking, plan, verified))
    if arguments.format == "text":
        console = Console(width=None if sys.stdout.isatty() else _WIDTH)
        console.print(as_text(ranking, plan, verified), highlight=False)
    elif arguments.format == "md":
        print(as_markdown(ranking, plan, verified), end="")
    else:
        print(json.dumps(as_plain(ranking, plan, verified), indent=1))
    write_configuration(arguments.write, configuration)
    params = {"data": str(arguments.root), "samples": ranking.samples, "command": command}
    uid, is_delivered = record(store, arguments.experiment, ranking, plan, verified, configuration, params)
    say_where(uid, is_delivered)


class _Progress:
    """Shows in one line how far a candidate is; only on a terminal."""

    def __init__(self, is_shown: bool) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("Looking for candidates ...")
        self._is_shown = is_shown and self._console.is_terminal

    def __enter__(self) -> "_Progress":
        if self._is_shown:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def __call__(self, doing: str, done: int, total: int) -> None:
        if self._is_shown:
            self._status.update(f"{doing}: {done:,} of {total:,} images")

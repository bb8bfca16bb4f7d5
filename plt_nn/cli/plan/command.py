"""`plt-nn plan`: what each phase of a freezing schedule trains and costs, without training."""

import argparse
import json
import sys
from collections.abc import Callable

from rich.console import Console

from plt_nn.cli.options import add_format
from plt_nn.errors import ConfigError
from plt_nn.freezing.costs.phase_costs import PlanCost
from plt_nn.freezing.costs.tables import plan_markdown, plan_tables, plan_text
from plt_nn.freezing.phase_text import phases_from_text

_LEAST, _WIDTH = 72, 100  # characters of a line on a terminal; the latter also elsewhere
_ONLY_BACKBONE = ("num_classes", "size", "lr", "optimizer")


def run(argv: list[str]) -> int:
    """Prints the plan of a configuration, or of a backbone and phases.

    Raises:
        ConfigError: For a mistake in the call, the configuration or the phases.
    """
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv[1:])
    phases = phases_from_text(arguments.phases) if arguments.phases is not None else None
    given = [f"--{name.replace('_', '-')}" for name in _ONLY_BACKBONE if getattr(arguments, name) is not None]
    if arguments.backbone is not None:
        if arguments.config or rest:
            parser.error(f"--backbone goes without a configuration, so without {' '.join(rest) or '--config'}")
        if phases is None:
            parser.error('--backbone needs phases, for instance --phases "head; last 2 stages @3; all @6"')
        from plt_nn.cli.plan.backbone import plan_of_backbone

        title, wanted = arguments.backbone, {name: getattr(arguments, name) for name in _ONLY_BACKBONE}
        plan = plan_of_backbone(phases, title, **wanted)
    elif not arguments.config:
        parser.error("give --config FILE.yaml, or --backbone NAME and --phases")
    elif given:
        raise ConfigError(f"{' and '.join(given)}: only with --backbone; a configuration says these things itself.")
    else:
        from plt_nn.cli.plan.config import plan_of_config

        files = [word for file in arguments.config for word in ("--config", file)]
        title, plan = plan_of_config([*files, *rest], phases)
    _PRINT[arguments.format](title, plan)
    return 0


def _print_text(title: str, plan: PlanCost) -> None:
    if not sys.stdout.isatty():
        _say(f"{title}\n{plan_text(plan, _WIDTH)}")
        return
    console = Console()
    console.width = max(_LEAST, min(console.width, _WIDTH))
    console.print(title, style="bold", markup=False, highlight=False)
    console.print(plan_tables(plan, console.width))


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:  # such as plain ASCII
        text = text.replace("─", "-").replace("…", "..").encode(encoding, "replace").decode(encoding)
    print(text, end="")


_PRINT: dict[str, Callable[[str, PlanCost], None]] = {
    "text": _print_text,
    "md": lambda title, plan: _say(f"### {title}\n\n{plan_markdown(plan)}"),
    "json": lambda title, plan: _say(json.dumps({"title": title} | plan.as_dict(), indent=2) + "\n"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn plan",
        usage="plt-nn plan --config FILE.yaml [--KEY VALUE ...]\n       plt-nn plan --backbone NAME --phases PHASES",
        description="Print what each phase of a freezing schedule trains and costs, without training.",
        epilog="With --config, any key of `plt-nn fit` can be given as well, such as --data.root.",
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", action="append", help="a configuration as for `plt-nn fit`")
    parser.add_argument(
        "--phases", help='in place of the configuration\'s: "head; last 2 stages @3; all @6 lr_scale=0.1"'
    )
    add_format(parser, *_PRINT)
    alone = parser.add_argument_group("a backbone without a configuration; no weights are needed")
    alone.add_argument("--backbone", help="such as timm/resnet50 or torchvision/vit_b_16")
    alone.add_argument("--num-classes", type=int, help="classes (default: those of the pretrained head)")
    alone.add_argument("--size", type=int, help="side of the images in pixels (default: as pretrained)")
    alone.add_argument("--lr", type=float, help="learning rate (default: 0.001)")
    alone.add_argument(
        "--optimizer", help='a class of torch.optim or a name of timm: AdamW (default), "SGD momentum=0.9", timm/lamb'
    )
    return parser

"""Which parameters differ between runs, and which runs are equal but for one thing. Pure."""

import re
from collections.abc import Sequence

from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.tracking.read.runs import RunRecord
from plt_nn.tracking.tags import SEED

# What has no effect on the result: names, folders, and what is displayed.
_IDLE = re.compile(
    r"(^|\.)(uid|run_name|version|name_of_run|dirpath|default_root_dir|root_dir|save_dir|log_dir|ckpt_path|config|store|"
    r"tracking_uri|resume|note|parent|tags|flush_seconds|most_megabytes|enable_progress_bar|enable_model_summary|"
    r"refresh_rate|log_every_n_steps|logger|verbose|print_config)(\.|$)"
)
_SEED = re.compile(r"(^|[._])(seed|seed_everything|random_state|random_seed)$")
_EMPTY = ("init_args", "class_path", "callbacks", "dict_kwargs")
MISSING = "–"


def differing(runs: Sequence[RunRecord], by: str | None = None) -> list[str]:
    """The parameters in which runs differ, in the order in which the runs name them.

    Args:
        runs: The runs.
        by: What is averaged over, and left out: see `matches`.
    """
    names = dict.fromkeys(name for run in runs for name in settings(run))
    shown = [name for name in names if not _IDLE.search(name) and not (by is not None and matches(name, by))]
    return [name for name in shown if len({settings(run).get(name) for run in runs}) > 1]


def settings(run: RunRecord) -> dict[str, str]:
    """What a run was made with: its parameters, and the seed, which may be in a tag only."""
    has_seed = any(_SEED.search(name) for name in run.params) or SEED not in run.tags
    return dict(run.params) if has_seed else {**run.params, SEED: run.tags[SEED]}


def matches(name: str, by: str) -> bool:
    """Whether a parameter is what a word means: itself, its last part, or with `seed` any seed."""
    return name == by or name.endswith(f".{by}") or (by == "seed" and _SEED.search(name) is not None)


def value_of(run: RunRecord, by: str) -> str:
    """The value of what is averaged over, such as the seed."""
    return ", ".join(dict.fromkeys(value for name, value in settings(run).items() if matches(name, by))) or MISSING


def require_known(runs: Sequence[RunRecord], by: str) -> None:
    """Makes sure that there is something to average over.

    Raises:
        ConfigError: If no run has such a parameter.
    """
    names = sorted({name for run in runs for name in settings(run)})
    if not any(matches(name, by) for name in names):
        raise ConfigError(f"--by {by}: no run has such a parameter.{did_you_mean(by, names)}")


def short_names(names: Sequence[str]) -> dict[str, str]:
    """The shortest unique ends of dotted names: `optimizer.init_args.lr` becomes `lr`."""
    parts = {name: [part for part in name.split(".") if part not in _EMPTY] or [name] for name in names}
    for name in names:
        if name.endswith("class_path"):  # what it is of says more
            parts[name] = [part for part in name.split(".")[:-1] if part not in _EMPTY] or [name]
    found: dict[str, str] = {}
    for name, own in parts.items():
        others = [other for key, other in parts.items() if key != name]
        taken = next((n for n in range(1, len(own) + 1) if all(other[-n:] != own[-n:] for other in others)), None)
        found[name] = ".".join(own[-taken:]) if taken is not None else name
    return found

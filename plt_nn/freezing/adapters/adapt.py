"""What a phase adds to the layers that it does not train themselves. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeGuard

from plt_nn.errors import did_you_mean


@dataclass(frozen=True)
class Adapt:
    """Low-rank adapters in place of training the weights (LoRA, Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    Args:
        kind: `lora`.
        rank: Rank of the update of each weight, at least 1.
        alpha: The update is multiplied by `alpha / rank`. Default: `rank`, so by 1.
        dropout: Dropout on the adapters' input, at least 0 and below 1.
        target: The layers that are adapted: globs over module names, from any of their parts on (`blocks.*.attn.qkv`,
            `attn.*`, `qkv`). Default: every linear and convolutional layer that can be adapted in the stages that the
            phase selects, but the head.
    """

    kind: Literal["lora"] = "lora"
    rank: int = 8
    alpha: float | None = None
    dropout: float = 0.0
    target: Sequence[str] | None = None


def parse_adapt(value: Adapt | Mapping[str, Any] | None) -> Adapt | None:
    """The adapters as an `Adapt`; `adapt_faults` must have found none."""
    return value if value is None or isinstance(value, Adapt) else Adapt(**_given(value))


def adapt_faults(value: object) -> list[str]:
    """What is wrong with a phase's `adapt`, each fault as a clause."""
    if value is None:
        return []
    if not isinstance(value, Adapt | Mapping):
        return [f"adapt is {value!r}; expected a mapping such as {{kind: lora, rank: 8}}"]
    given = asdict(value) if isinstance(value, Adapt) else _given(value)
    keys = [field.name for field in fields(Adapt)]
    faults = [f"adapt: unknown key {key!r}.{did_you_mean(str(key), keys)}" for key in given if key not in keys]
    if given.get("kind", "lora") != "lora":
        faults.append(f"adapt: kind is {given['kind']!r}; expected 'lora'")
    rank, alpha, dropout = given.get("rank", 8), given.get("alpha"), given.get("dropout", 0.0)
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        faults.append(f"adapt: rank is {rank!r}; expected a whole number from 1")
    if alpha is not None and not (is_number(alpha) and 0 < alpha < float("inf")):
        faults.append(f"adapt: alpha is {alpha!r}; expected a number above 0")
    if not (is_number(dropout) and 0 <= dropout < 1):
        faults.append(f"adapt: dropout is {dropout!r}; expected at least 0 and below 1")
    target = given.get("target")
    is_list = isinstance(target, list | tuple) and target and all(isinstance(item, str) for item in target)
    if target is not None and not is_list:
        faults.append(f"adapt: target is {target!r}; expected a list of module names or globs")
    return faults


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(value: object) -> object:
    """The number that a text such as `1e-3` means, which YAML reads as a text; other values as they are."""
    try:
        number = float(value) if isinstance(value, str) else None
    except ValueError:
        return value
    return value if number is None else int(number) if number.is_integer() else number


def _given(value: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: item for key, item in value.items() if item is not None}
    return {key: as_number(item) if key in ("alpha", "dropout") else item for key, item in given.items()}

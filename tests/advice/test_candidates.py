"""Which nets words mean."""

from pathlib import Path

import pytest

from plt_nn.advice.build import build_net, own_size, preprocessing_of
from plt_nn.advice.candidates import Candidate, candidates_of, find_nets
from plt_nn.errors import ConfigError, WeightsError

LITE0 = ("timm/tf_efficientnet_lite0", "package:efficientnet-lite0")


def test_without_a_wish_all_that_is_at_hand() -> None:
    assert LITE0 in find_nets([]).nets


def test_a_glob_means_what_is_at_hand_and_tells_the_rest() -> None:
    found = find_nets(["timm/*lite0*"])
    assert found.nets == [LITE0]
    assert "timm/efficientnet_lite0" in found.left_out[0]
    assert "--download" in found.left_out[0]
    assert ("timm/efficientnet_lite0", True) in find_nets(["timm/*lite0*"], download=True).nets


def test_names_with_weights() -> None:
    words = ["timm/tf_efficientnet_lite0", "timm/resnet18=random", "timm/resnet50=weights.pth", "torchvision/resnet18"]
    nets = [LITE0, ("timm/resnet18", False), ("timm/resnet50", "weights.pth"), ("torchvision/resnet18", True)]
    assert find_nets(words).nets == nets


def test_a_file_of_names(tmp_path: Path) -> None:
    (tmp_path / "nets.txt").write_text("# ours\ntimm/resnet18=random\n\n")
    assert find_nets([f"@{tmp_path / 'nets.txt'}"]).nets == [("timm/resnet18", False)]
    with pytest.raises(ConfigError, match="No such file"):
        find_nets([f"@{tmp_path / 'no.txt'}"])


@pytest.mark.parametrize("word", ["timm/resnet81", "timm/*xyz*", "timm/resnet81=random", "resnet18"])
def test_what_does_not_exist_is_refused(word: str) -> None:
    with pytest.raises(ConfigError):
        find_nets([word])


def test_sizes() -> None:
    nets: list[tuple[str, bool | str]] = [("timm/resnet18", False), ("timm/resnet34", False)]
    found = candidates_of(nets, None, [None], lambda name: 224)
    assert [one.size for one in found] == [224, 128, 224, 128]
    found = candidates_of(nets[:1], [64], [None, 0.7], lambda name: 224)
    names = [str(one).removeprefix("resnet18 (random weights), ") for one in found]
    assert names == ["64 px", "64 px, crop 0.7"]


def test_the_size_of_the_pretraining_is_known_without_weights() -> None:
    assert own_size("timm/resnet18.a1_in1k") == 224
    assert own_size("torchvision/inception_v3") == 299


def test_a_net_for_one_size_is_built_for_another() -> None:
    candidate = Candidate("timm/vit_tiny_patch16_224", False, 96)
    net = build_net(candidate)
    assert preprocessing_of(net, candidate).size == 96


def test_a_size_that_a_net_does_not_take() -> None:
    with pytest.raises(ConfigError, match="takes images of 224 px, not of 100"):
        build_net(Candidate("timm/levit_128s", False, 100))


def test_weights_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        build_net(Candidate("timm/resnet18", str(tmp_path / "no.pth"), 64))

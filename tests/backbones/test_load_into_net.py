"""Weights under other names, of other shapes, of other nets."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from plt_nn.backbones import create_backbone
from plt_nn.errors import WeightsError

NET = "timm/test_resnet"


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Random weights of a small net, every one of them unlike what the net starts with."""
    torch.manual_seed(1)
    return {
        name: value + torch.rand_like(value.float()) for name, value in create_backbone(NET, False).state_dict().items()
    }


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors in the same order, the modules under other names."""
    modules = {module: index for index, module in enumerate(dict.fromkeys(name.rpartition(".")[0] for name in weights))}
    return {f"part{modules[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": weights[name] for name in weights}


def _load(weights: dict[str, Tensor], path: Path, name: str = NET) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    return create_backbone(name, str(path)).state_dict()


def _same(found: dict[str, Tensor], weights: dict[str, Tensor]) -> bool:
    return all(value.equal(weights[name].to(value.dtype)) for name, value in found.items())


def test_names_that_differ_are_matched_by_order(weights: dict[str, Tensor], tmp_path: Path) -> None:
    assert _same(_load(_renamed(weights), tmp_path / "renamed.pth"), weights)


def test_names_that_differ_with_another_number_of_classes(tmp_path: Path) -> None:
    net = create_backbone(NET, False, num_classes=3)
    assert _same(_load(_renamed(net.state_dict()), tmp_path / "renamed.pth"), net.state_dict())


def test_alphabetical_order_is_not_taken_for_the_nets(weights: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="0 names and shapes agree"):
        _load(_renamed(weights), tmp_path / "renamed.safetensors")


@pytest.mark.parametrize("rename", [dict, _renamed])
def test_old_files_without_counters(weights: dict[str, Tensor], tmp_path: Path, rename: type) -> None:
    old = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    found = _load(rename(old), tmp_path / "old.pth")
    assert _same({name: found[name] for name in old}, weights)


def test_every_difference_is_reported_at_once(weights: dict[str, Tensor], tmp_path: Path) -> None:
    wrong = dict(weights) | {f"extra{index}.weight": torch.zeros(1) for index in range(12)}
    del wrong["layer1.0.conv1.weight"]
    wrong["conv1.0.weight"] = torch.zeros(1, 2, 3, 3)
    with pytest.raises(WeightsError) as raised:
        _load(wrong, tmp_path / "resnet34-b627a593.pth")
    text = str(raised.value)
    assert f"does not fit {NET}" in text
    assert f"{len(weights) - 2} names and shapes agree" in text
    assert "1 missing from the file: layer1.0.conv1.weight." in text
    assert re.search(r"12 in the file but not in the net: extra0.weight, .*extra9.weight and 2 more\.", text)
    assert re.search(
        r"1 of another shape: conv1.0.weight: \(1, 2, 3, 3\) in the file, \(\d+, 3, 3, 3\) in the net", text
    )
    assert "Did you mean 'timm/resnet34'" in text


def test_a_file_of_another_net(weights: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="look like the weights of another net"):
        _load(weights, tmp_path / "other.pth", "timm/test_vit")


def test_positions_are_resampled_for_another_image_size(tmp_path: Path) -> None:
    net = create_backbone("timm/test_vit", False)
    torch.save(net.state_dict(), tmp_path / "vit.pth")
    small = create_backbone("timm/test_vit", str(tmp_path / "vit.pth"), model_args={"img_size": 96})
    assert small.get_parameter("pos_embed").shape != net.get_parameter("pos_embed").shape
    assert small.get_parameter("head.weight").equal(net.get_parameter("head.weight"))
    assert small(torch.randn(1, 3, 96, 96)).shape == (1, 1000)


def test_mnasnet_from_safetensors_which_keep_no_versions(tmp_path: Path) -> None:
    net = create_backbone("torchvision/mnasnet0_5", False).state_dict()
    assert _same(_load(net, tmp_path / "mnasnet.safetensors", "torchvision/mnasnet0_5"), net)


def test_densenet_s_old_names(tmp_path: Path) -> None:
    net = create_backbone("torchvision/densenet121", False).state_dict()
    old = {
        re.sub(r"(norm|conv)(\d)\.(?=\w+$)", r"\1.\2.", name) if "denselayer" in name else name: net[name]
        for name in net
    }
    assert any(".norm.1." in name for name in old)
    assert _same(_load(old, tmp_path / "densenet.pth", "torchvision/densenet121"), net)


def test_googlenet_leaves_the_auxiliary_heads_of_its_file(tmp_path: Path) -> None:
    import torchvision

    whole = torchvision.models.googlenet(init_weights=False).state_dict()
    torch.save(whole, tmp_path / "googlenet.pth")
    net = create_backbone("torchvision/googlenet", str(tmp_path / "googlenet.pth"))
    assert not any(name.startswith("aux") for name in net.state_dict())
    assert _same(net.state_dict(), whole)
    assert net.transform_input

"""Creating nets by name, with weights from packages, files and hubs, and what is said when it cannot be done."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from plt_nn.backbones import (
    Preprocessing,
    backbone_info,
    check_backbone_name,
    create_backbone,
    list_backbones,
    set_num_classes,
)
from plt_nn.errors import ConfigError


def test_the_package_s_weights_load_exactly(lite0_file: Path) -> None:
    import timm

    theirs = timm.create_model("tf_efficientnet_lite0")
    timm.models.load_checkpoint(theirs, str(lite0_file), remap=True)
    for pretrained in ("package:efficientnet-lite0", str(lite0_file)):
        ours = create_backbone("timm/tf_efficientnet_lite0", pretrained)
        assert all(value.equal(theirs.state_dict()[name]) for name, value in ours.state_dict().items())


@pytest.mark.photos
def test_ants_and_bees_are_told_apart_without_training(lite0_file: Path, photos: Path) -> None:
    net = create_backbone("timm/tf_efficientnet_lite0", "package:efficientnet-lite0").eval()
    info = backbone_info(net)
    assert info is not None
    assert info.preprocessing == Preprocessing(224, "bicubic", 0.875, (0.5,) * 3, (0.5,) * 3)
    transform = info.preprocessing.evaluation_transform()
    images, labels = [], []
    for label, folder in enumerate(("bees", "ants")):  # ImageNet's classes 309 and 310
        for path in sorted((photos / "val" / folder).glob("*.jpg"))[:20]:
            with Image.open(path) as photo:
                images.append(transform(photo.convert("RGB")))
            labels.append(label)
    with torch.no_grad():
        answers = net(torch.stack(images))[:, 309:311].argmax(1)
    assert (answers == torch.tensor(labels)).float().mean() >= 0.95


def test_a_new_head_keeps_the_whole_body(lite0_file: Path) -> None:
    whole = create_backbone("timm/tf_efficientnet_lite0", str(lite0_file)).state_dict()
    net = create_backbone("timm/tf_efficientnet_lite0", str(lite0_file), num_classes=2)
    body = {name: value for name, value in net.state_dict().items() if not name.startswith("classifier.")}
    assert len(body) == len(whole) - 2
    assert all(value.equal(whole[name]) for name, value in body.items())
    assert net.get_parameter("classifier.weight").shape[0] == 2


@pytest.mark.parametrize("name", ["timm/test_resnet", "torchvision/squeezenet1_1"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_of_our_own_comes_back_with_its_classes(tmp_path: Path, name: str, suffix: str) -> None:
    net = create_backbone(name, pretrained=False, num_classes=5)
    path = tmp_path / f"own.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(net.state_dict(), path)
    again = create_backbone(name, pretrained=str(path))
    assert all(value.equal(net.state_dict()[key]) for key, value in again.state_dict().items())
    assert create_backbone(name, pretrained=str(path), num_classes=3)(torch.randn(2, 3, 64, 64)).shape == (2, 3)


def test_info_survives_copies_and_pickling() -> None:
    net = create_backbone("timm/test_resnet.r160_in1k", pretrained=False)
    info = backbone_info(net)
    assert info is not None
    assert (info.name, info.pretrained, info.num_classes_given) == ("timm/test_resnet.r160_in1k", False, False)
    assert info.preprocessing.size == 160
    for twin in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert backbone_info(twin) == info
    assert backbone_info(torch.nn.Sequential(net)) is None


def test_num_classes_given_is_noted() -> None:
    info = backbone_info(create_backbone("timm/test_resnet", pretrained=False, num_classes=1000))
    assert info is not None
    assert info.num_classes_given


@pytest.mark.parametrize(
    ("name", "model_args", "size"),
    [
        ("timm/test_vit", {}, 160),
        ("timm/test_vit", {"img_size": 96}, 96),
        ("torchvision/vit_h_14", {}, 518),
        ("torchvision/vit_b_16", {"image_size": 64}, 64),
        ("torchvision/efficientnet_b1", {}, 240),
    ],
)
def test_the_size_is_the_one_the_net_takes(name: str, model_args: dict[str, Any], size: int) -> None:
    with torch.device("meta"):
        net = create_backbone(name, False, 3, model_args)
        info = backbone_info(net)
        assert info is not None
        assert info.preprocessing.size == size
        assert net(torch.empty(2, 3, size, size)).shape == (2, 3)


def test_nets_for_training_give_one_output() -> None:
    net = create_backbone("torchvision/inception_v3", False, 3, {"init_weights": False})
    assert net.train()(torch.randn(2, 3, 96, 96)).shape == (2, 3)


def test_lists() -> None:
    assert {"timm/tf_efficientnet_lite0", "timm/efficientnet_lite0"} <= set(list_backbones("timm/*lite0"))
    resnets = list_backbones("torchvision/resnet*")
    assert resnets == [f"torchvision/resnet{depth}" for depth in (101, 152, 18, 34, 50)]
    assert "timm/resnet50.a1_in1k" in list_backbones("timm/resnet50.*")
    assert list_backbones("torchvision/resnet50.*") == [f"torchvision/resnet50.IMAGENET1K_V{n}" for n in (1, 2)]
    assert list_backbones("none/*") == []
    assert {name.partition("/")[0] for name in list_backbones()} == {"timm", "torchvision"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "resnet50"},
            "'resnet50'; expected LIBRARY/NAME .* timm or torchvision. Did you mean 'timm/resnet50'",
        ),
        ({"name": "tim/resnet50"}, "Did you mean 'timm/resnet50'"),
        ({"name": "timm/"}, "expected LIBRARY/NAME"),
        ({"name": "timm/resnt50"}, "timm has no classification net 'resnt50'. Did you mean .*'resnet50'"),
        ({"name": "torchvision/resnt50"}, "torchvision has no classification net 'resnt50'. Did you mean 'resnet50'"),
        ({"name": "timm/resnet50.a1_in1"}, "timm has no weights 'a1_in1' of resnet50. Did you mean 'a1_in1k'"),
        ({"name": "torchvision/resnet50.V1"}, "no weights 'V1' of resnet50. Valid: IMAGENET1K_V1, IMAGENET1K_V2"),
        ({"name": "timm/test_resnet", "num_classes": 0}, "num_classes is 0; expected at least 1"),
        (
            {"name": "timm/test_resnet", "model_args": {"dropp": 1}},
            "'dropp'.* cannot be used for test_resnet",
        ),
        ({"name": "timm/test_resnet", "model_args": {"num_classes": 1}}, "model_args has num_classes; give"),
    ],
)
def test_faults_of_a_configuration(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_backbone(**({"pretrained": False} | arguments))


def test_set_num_classes_later_as_a_module_does() -> None:
    net = create_backbone("timm/test_resnet", pretrained=False)
    set_num_classes(net, 4)
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 4)


def test_a_name_is_checked_without_building_the_net() -> None:
    check_backbone_name("torchvision/regnet_y_128gf.IMAGENET1K_SWAG_E2E_V1")
    with pytest.raises(ConfigError, match="Did you mean 'resnet18'"):
        check_backbone_name("torchvision/resnet17")

"""Weights of the libraries' own hubs: from their caches, and out of reach."""

import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from plt_nn.backbones import create_backbone
from plt_nn.backbones.hub import downloading
from plt_nn.errors import WeightsError

NOBODY = "http://127.0.0.1:9"  # the discard service, which nothing runs


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for all caches, a hub that does not answer, and no proxy."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", NOBODY)
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    return tmp_path


def test_timm_s_hub_out_of_reach() -> None:
    url = f"{NOBODY}/timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors"
    with pytest.raises(WeightsError, match="timm/tf_efficientnet_lite0 could not be downloaded") as raised:
        create_backbone("timm/tf_efficientnet_lite0", pretrained=True)
    assert f"Fetch {url} on a machine" in str(raised.value)
    assert "pretrained='/path/to/model.safetensors'" in str(raised.value)
    assert "pretrained='package:efficientnet-lite0'" in str(raised.value)


def test_any_host_out_of_reach() -> None:
    text = r"torchvision/x could not be downloaded .*/path/to/x-12345678.pth'"
    url = f"{NOBODY}/models/x-12345678.pth"
    with pytest.raises(WeightsError, match=text), downloading(url, "torchvision/x", is_cached=False):
        pytest.fail("nobody answers")


def test_a_host_that_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with downloading(f"http://127.0.0.1:{server.getsockname()[1]}/x.pth", "torchvision/x", is_cached=False):
            pass
        server.settimeout(5)
        connection, peer = server.accept()  # raises if nobody has asked
        connection.close()
    assert peer[0] == "127.0.0.1"


def test_torchvision_s_cache_is_enough(empty_caches: Path) -> None:
    import torchvision

    whole = torchvision.models.googlenet(init_weights=False).state_dict()
    (empty_caches / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(whole, empty_caches / "hub" / "checkpoints" / "googlenet-1378be20.pth")
    net = create_backbone("torchvision/googlenet", pretrained=True, num_classes=3)
    assert net.get_parameter("inception4a.branch1.conv.weight").equal(whole["inception4a.branch1.conv.weight"])
    assert net.train()(torch.randn(2, 3, 64, 64)).shape == (2, 3)  # no auxiliary outputs


def test_timm_s_cache_is_enough(empty_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it asks for newer weights for a while
    whole = create_backbone("timm/test_resnet", pretrained=False).state_dict()
    repository = empty_caches / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(whole, repository / "snapshots" / ("0" * 40) / "model.safetensors")
    net = create_backbone("timm/test_resnet", pretrained=True)
    assert all(value.equal(whole[name]) for name, value in net.state_dict().items())


def test_weights_that_timm_does_not_have() -> None:
    with pytest.raises(WeightsError, match="no pretrained weights of efficientnet_lite1; choose pretrained=False"):
        create_backbone("timm/efficientnet_lite1", pretrained=True)

"""The classifier's numbers against scikit-learn and torch over all data at once, and its words when things disagree."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn
from torch.utils.data import DataLoader

from plt_nn import MLP, Classifier, DigitsData, RecurrentNet, create_backbone
from plt_nn.errors import ConfigError, DataError

Make = Callable[..., Trainer]
Load = Callable[..., DataLoader[tuple[Tensor, ...]]]
Linear = Callable[[int, int], nn.Linear]

SAMPLES, CLASSES = 71, 5
WEIGHTS = [0.2, 1.0, 3.0, 0.7, 1.5]


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    """Samples of unbalanced classes, the last of which is absent."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, 4, generator=generator)
    y = torch.multinomial(torch.tensor([0.5, 0.2, 0.2, 0.1]), SAMPLES, replacement=True, generator=generator)
    return x, y


def held_still(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.0)


def at_once(net: nn.Module, x: Tensor, y: Tensor, weights: list[float] | None, smoothing: float) -> dict[str, float]:
    """Loss, accuracy, macro F1 and calibration error, each computed over all samples in one go."""
    with torch.no_grad():
        logits = net(x)
    loss = F.cross_entropy(logits, y, torch.tensor(weights) if weights else None, label_smoothing=smoothing)
    confidence, predicted = (part.numpy() for part in logits.softmax(1).max(1))
    right = predicted == y.numpy()
    bins = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
    gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return {
        "loss": float(loss),
        "acc": float(accuracy_score(y, predicted)),
        "f1": float(f1_score(y, predicted, average="macro")),
        "ece": float(sum(gaps)),
    }


def logged(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "class weights"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2], ids=["", "label smoothing"])
def test_an_epoch_is_right_at_uneven_batches(
    weights: list[float] | None,
    smoothing: float,
    data: tuple[Tensor, Tensor],
    trainer: Make,
    loader: Load,
    linear: Linear,
) -> None:
    net = linear(4, CLASSES)
    module = Classifier(net, optimizer=held_still, class_weights=weights, label_smoothing=smoothing)
    fitter = trainer(max_epochs=2, val_check_interval=0.5)
    fitter.fit(module, loader(*data), loader(*data, batch_size=9))
    expected = at_once(net, *data, weights, smoothing)
    assert logged(fitter) == pytest.approx(
        {f"val_{name}": value for name, value in expected.items()}
        | {"train_loss": expected["loss"], "train_acc": expected["acc"]},
        rel=1e-5,
    )


def test_each_check_of_a_stage_stands_alone(
    data: tuple[Tensor, Tensor], trainer: Make, loader: Load, linear: Linear
) -> None:
    net = linear(4, CLASSES)
    module, expected = Classifier(net), at_once(net, *data, None, 0.0)
    runner = trainer()
    for _ in range(2):
        assert runner.validate(module, loader(*data), verbose=False)[0] == pytest.approx(
            {f"val_{name}": value for name, value in expected.items()}, rel=1e-5
        )
    assert runner.test(module, loader(*data), verbose=False)[0] == pytest.approx(
        {f"test_{name}": value for name, value in expected.items()}, rel=1e-5
    )


def test_only_the_net_is_in_a_checkpoint(
    data: tuple[Tensor, Tensor], trainer: Make, loader: Load, linear: Linear
) -> None:
    module = Classifier(linear(4, CLASSES), class_weights=WEIGHTS)
    trainer().fit(module, loader(*data), loader(*data))
    assert set(module.state_dict()) == {"net.weight", "net.bias"}


def test_prediction_gives_probabilities_and_the_samples_indices(
    data: tuple[Tensor, Tensor], trainer: Make, loader: Load, linear: Linear
) -> None:
    x, y = data
    net, index = linear(4, CLASSES), torch.arange(SAMPLES) * 3
    predictions: Any = trainer().predict(Classifier(net), loader(x, y, index))
    assert torch.cat([batch["index"] for batch in predictions]).equal(index)
    with torch.no_grad():
        expected = net(x).softmax(1)
    torch.testing.assert_close(torch.cat([batch["probabilities"] for batch in predictions]), expected)
    unnumbered: Any = trainer().predict(Classifier(net), loader(x, y))
    assert unnumbered[0]["index"] is None


def test_inputs_of_several_parts_are_spread_over_the_net(trainer: Make) -> None:
    net = RecurrentNet(in_features=3, hidden_size=4, out_features=CLASSES)
    x, lengths, y = torch.randn(8, 6, 3), torch.tensor([6, 1, 2, 3, 4, 5, 6, 1]), torch.arange(8) % CLASSES
    samples: Any = [((x[i], lengths[i]), y[i]) for i in range(len(y))]
    metrics = trainer().validate(Classifier(net), DataLoader(samples, batch_size=8), verbose=False)[0]
    with torch.no_grad():
        assert metrics["val_loss"] == pytest.approx(float(F.cross_entropy(net(x, lengths), y)), rel=1e-5)


# -- the number of classes --------------------------------------------------------------------------------------------


def test_an_open_backbone_gets_a_head_for_the_data_and_keeps_it(trainer: Make) -> None:
    net = create_backbone("timm/test_resnet", pretrained=False)
    module, data = Classifier(net), DigitsData(batch_size=16, image_size=32, channels=3)
    runner = trainer(limit_train_batches=2, limit_val_batches=1)
    runner.fit(module, data)
    assert module.num_classes == 10
    assert module(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    trained = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    runner.validate(module, data, verbose=False)
    trainer(limit_test_batches=1).test(module, data.val_dataloader(), verbose=False)
    for name, tensor in module.state_dict().items():
        assert tensor.equal(trained[name]), f"{name} was replaced or changed after the fit"


def test_without_a_data_module_the_net_says_how_many_classes_there_are(
    data: tuple[Tensor, Tensor], trainer: Make, loader: Load
) -> None:
    net = MLP(in_features=4, hidden=[3], out_features=CLASSES)
    module = Classifier(net)
    trainer().validate(module, loader(*data), verbose=False)
    assert module.num_classes == CLASSES


def test_a_net_with_other_outputs_than_the_data_has_classes(trainer: Make) -> None:
    module = Classifier(MLP(in_features=64, hidden=[8], out_features=7))
    with pytest.raises(ConfigError, match=r"shape \(32, 7\).*10 classes; expected \(32, 10\)"):
        trainer(num_sanity_val_steps=0).fit(module, DigitsData(layout="flat"))


def test_num_classes_that_disagrees_with_the_data(trainer: Make) -> None:
    module = Classifier(MLP(in_features=64, hidden=[8], out_features=7), num_classes=7)
    with pytest.raises(ConfigError, match=r"num_classes is 7, but the data has 10 classes\. Leave num_classes out"):
        trainer().validate(module, DigitsData(layout="flat"), verbose=False)


def test_class_weights_that_disagree_with_the_data(trainer: Make) -> None:
    module = Classifier(MLP(in_features=64, hidden=[8], out_features=10), class_weights=[1.0, 2.0, 3.0])
    with pytest.raises(ConfigError, match="class_weights has 3 values, but there are 10 classes"):
        trainer().validate(module, DigitsData(layout="flat"), verbose=False)


def test_a_number_of_classes_that_nobody_knows(data: tuple[Tensor, Tensor], trainer: Make, loader: Load) -> None:
    with pytest.raises(ConfigError, match="not known from the data or the net; give num_classes"):
        trainer().validate(Classifier(nn.Flatten()), loader(*data), verbose=False)


@pytest.mark.parametrize("classes", [0, -1])
def test_a_number_of_classes_that_cannot_be(
    classes: int, data: tuple[Tensor, Tensor], trainer: Make, loader: Load, linear: Linear
) -> None:
    with pytest.raises(ConfigError, match=f"num_classes is {classes}"):
        trainer().validate(Classifier(linear(4, CLASSES), num_classes=classes), loader(*data), verbose=False)


# -- what else a person may get wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_label_smoothing_out_of_range(smoothing: float, linear: Linear) -> None:
    with pytest.raises(ConfigError, match=f"label_smoothing is {smoothing}; expected at least 0 and below 1"):
        Classifier(linear(4, CLASSES), label_smoothing=smoothing)


def test_a_batch_that_is_no_pair(data: tuple[Tensor, Tensor], trainer: Make, linear: Linear) -> None:
    samples: Any = [{"x": x, "y": y} for x, y in zip(*data, strict=True)]
    with pytest.raises(DataError, match=r"A batch is a dict; expected a tuple \(x, y\) or \(x, y, index\)"):
        trainer().validate(Classifier(linear(4, CLASSES)), DataLoader(samples, batch_size=4), verbose=False)


class Tupled(nn.Module):
    """A net that gives its logits in a tuple, as some libraries do."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.layer(x),)


def test_a_net_that_gives_no_tensor(data: tuple[Tensor, Tensor], trainer: Make, loader: Load, linear: Linear) -> None:
    with pytest.raises(ConfigError, match="tuple"):
        trainer().validate(Classifier(Tupled(linear(4, CLASSES))), loader(*data), verbose=False)

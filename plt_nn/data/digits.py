"""Scikit-learn's 1,797 scans of handwritten digits: real images without a download."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from plt_nn.backbones import Preprocessing, inner_preprocessing
from plt_nn.data.fingerprints import SplitFingerprint, tensor_fingerprints
from plt_nn.data.splits import check_fractions, stratified_split
from plt_nn.data.tensors import TensorData, TensorSplit
from plt_nn.errors import DataError, refuse


class DigitsData(TensorData):
    """The digits 0 to 9 as images, sequences of rows or flat vectors, in memory.

    Values are scaled to [0, 1], then normalised by the mean and deviation of the module's backbone; for other nets, by
    those of the training pixels.
    Source: https://scikit-learn.org/stable/datasets/toy_dataset.html#digits-dataset

    Args:
        batch_size: Samples per process and step; default 32.
        image_size: Side of an image in pixels, at least 8; larger ones are interpolated (bicubic); default 8.
        channels: 1, or 3 equal ones; default 1.
        layout: `image` `(N, channels, image_size, image_size)`, `rows` `(N, 8, 8)` for recurrent nets, or `flat`
            `(N, 64)`.
        val_fraction: Share of each digit held out for validation; default 0.2.
        test_fraction: Share of each digit held out for testing; default 0.
        preprocessing: Preprocessing whose mean and deviation replace those of the backbone.
        split_seed: Seed of the split; default 0.

    Raises:
        ConfigError: An argument is out of range, or does not fit the layout.
        DataError: At `setup`: scikit-learn is not installed.
    """

    name = "digits"
    source = "sklearn.datasets.load_digits"
    class_names = [str(digit) for digit in range(10)]  # noqa: RUF012  # of every instance

    def __init__(
        self,
        batch_size: int = 32,
        image_size: int = 8,
        channels: Literal[1, 3] = 1,
        layout: Literal["image", "rows", "flat"] = "image",
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        preprocessing: Preprocessing | None = None,
        split_seed: int = 0,
    ) -> None:
        super().__init__(batch_size, {"val": val_fraction, "test": test_fraction})
        check_fractions(self.fractions)
        faults = []
        if image_size < 8:
            faults.append(f"image_size is {image_size}; the scans have 8 pixels a side, and can only be enlarged.")
        if layout != "image" and (image_size, channels) != (8, 1):
            faults.append(f"layout {layout!r} needs the 8x8 scans; leave image_size at 8 and channels at 1.")
        refuse("DigitsData", faults)
        self.image_size = image_size
        self.channels = channels
        self.layout = layout
        self.preprocessing = preprocessing
        self.split_seed = split_seed

    def setup(self, stage: str | None = None) -> None:
        """Load, split, normalise and enlarge all digits (0.1 s at 64 pixels)."""
        scans, labels = _load_digits()
        chosen = stratified_split(labels, self.fractions, self.split_seed)
        preprocessing = self.preprocessing or inner_preprocessing(getattr(self.trainer, "lightning_module", None))
        if preprocessing is None:
            std, mean = torch.std_mean(scans[chosen["train"]])
        else:
            mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.splits = {
            name: TensorSplit(self._arrange(scans[rows], mean, std), labels[rows]) for name, rows in chosen.items()
        }

    def describe(self) -> dict[str, str | int | float]:
        """Plain facts for the record of a run."""
        facts: dict[str, str | int | float] = {"classes": len(self.class_names), "layout": self.layout}
        return facts | {"image_size": self.image_size, "channels": self.channels} | self.sizes

    def fingerprints(self) -> dict[str, SplitFingerprint]:
        """The content of each split, by the original scans: size, layout and normalisation make no difference."""
        scans, labels = _load_digits()
        chosen = stratified_split(labels, self.fractions, self.split_seed)
        splits = {name: TensorSplit(scans[rows], labels[rows]) for name, rows in chosen.items()}
        return tensor_fingerprints(splits, self.class_names, self.source)

    def _arrange(self, scans: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Scans `(N, 8, 8)` in [0, 1] -> normalised inputs in the layout."""
        if self.channels == 1:
            mean, std = mean.mean(), std.mean()
        if self.layout != "image":
            rows = (scans - mean) / std
            return rows if self.layout == "rows" else rows.flatten(1)
        images = scans.unsqueeze(1)
        if self.image_size > scans.shape[-1]:
            images = F.interpolate(images, size=self.image_size, mode="bicubic").clamp(0.0, 1.0)
        images = (images - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)
        return images.expand(-1, self.channels, -1, -1).contiguous()


def _load_digits() -> tuple[Tensor, Tensor]:
    """The scans in [0, 1], float32 `(1797, 8, 8)`, and their digits, int64 `(1797,)`."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("DigitsData needs scikit-learn: pip install scikit-learn") from error
    digits = load_digits()
    return torch.from_numpy(digits.images).float() / 16.0, torch.from_numpy(digits.target).long()

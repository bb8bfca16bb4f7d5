"""The worked example of the lesson: a generated curve with noise."""

import torch

from plt_nn.data.tensors import ROWS_AT_ONCE, TensorData, TensorSplit
from plt_nn.errors import ConfigError


class SyntheticRegressionData(TensorData):
    """Samples of y = 2 x0^3 + 0.5 x1^2 + noise e, with x0, x1 and e drawn from the standard normal distribution.

    Args:
        samples: Number of training samples; default 100.
        noise: Standard deviation of the noise, which no net can predict; default 0.5: the best possible MSE is 0.25.
        val_samples: Number of further samples for validation, from the same distribution; default 100.
        batch_size: Samples per process and training step; default 32.
        data_seed: Seed of the samples; default 0.

    Raises:
        ConfigError: There is no sample, or the noise is negative.
    """

    name = "synthetic_regression"
    source = "y = 2 x0^3 + 0.5 x1^2 + noise e"
    num_features = 2

    def __init__(
        self, samples: int = 100, noise: float = 0.5, val_samples: int = 100, batch_size: int = 32, data_seed: int = 0
    ) -> None:
        super().__init__(batch_size, evaluation_batch_size=ROWS_AT_ONCE)
        if min(samples, val_samples) < 1 or noise < 0:
            raise ConfigError(
                f"samples={samples}, val_samples={val_samples}, noise={noise}: expected at least one sample of each"
                " kind and a noise of at least 0."
            )
        self.samples, self.val_samples = samples, val_samples
        self.noise = noise
        self.data_seed = data_seed

    def setup(self, stage: str | None = None) -> None:
        """Draw the samples."""
        self.splits = {
            name: _draw(size, self.noise, seed=2 * self.data_seed + half)  # no two data seeds share samples
            for half, (name, size) in enumerate({"train": self.samples, "val": self.val_samples}.items())
        }

    def describe(self) -> dict[str, str | int | float]:
        """Plain facts for the record of a run."""
        facts: dict[str, str | int | float] = {"noise": self.noise, "data_seed": self.data_seed}
        return facts | self.sizes


def _draw(size: int, noise: float, seed: int) -> TensorSplit:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 2, generator=generator)
    signal = 2.0 * x[:, :1] ** 3 + 0.5 * x[:, 1:] ** 2
    return TensorSplit(x, signal + noise * torch.randn(size, 1, generator=generator))

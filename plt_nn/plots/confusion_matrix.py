"""What the figures of a classifier count: the confusion matrix, and how often it was right where it was how sure.

Not torchmetrics' `MulticlassConfusionMatrix` and `MulticlassCalibrationError`: the first waits for the GPU at each
batch and allocates `(C, C)` anew; the second stores the confidence of every sample and does not give its bins.
"""

import torch
from torch import Tensor


class ClassCounts:
    """Counts batch by batch, on the device and without waiting for it.

    Args:
        classes: Number of classes, C.
        bins: Number of equal ranges of confidence, B.
        device: Where the batches are.
        most: Above so many classes there is no confusion matrix, which grows with their square.

    Attributes:
        confusion: int64 `(C, C)`: how many samples of the class of a row were said to be of the class of a column.
        bins: float64 `(3, B)` (float32 on MPS): number of samples, sum of confidences and number of right ones in each
            range of confidence, which is the probability of the class that was said.
    """

    def __init__(self, classes: int, bins: int, device: torch.device | None = None, most: int = 1000) -> None:
        self.classes = classes
        side = classes if classes <= most else 0
        self.confusion = torch.zeros(side, side, dtype=torch.int64, device=device)
        self.bins = torch.zeros(3, bins, dtype=accumulator(device), device=device)

    def add(self, probabilities: Tensor, y: Tensor) -> Tensor:
        """Counts a batch; a target that is no class, as -100 often marks, is passed over.

        Args:
            probabilities: Float `(N, C)`.
            y: The true classes, int64 `(N,)`.

        Returns:
            Which samples are wrong, bool `(N,)`.
        """
        counted = (y >= 0) & (y < self.classes)
        confidence, said = probabilities.max(1)
        right = counted & (said == y)
        if len(self.confusion):
            cells = torch.where(counted, y, 0) * self.classes + said
            self.confusion.view(-1).index_add_(0, cells, counted.long())
        rows = torch.stack([row.to(self.bins.dtype) for row in (counted, confidence * counted, right)])
        self.bins.index_add_(1, bin_of(confidence, self.bins.shape[1]), rows)
        return counted & ~right


def accumulator(device: torch.device | None) -> torch.dtype:
    """The dtype in which sums over a whole validation are kept."""
    return torch.float32 if device is not None and device.type == "mps" else torch.float64  # which MPS lacks


def bin_of(confidence: Tensor, bins: int) -> Tensor:
    """The range of each confidence, from 0 to `bins - 1`, as torchmetrics counts them."""
    bounds = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)
    return torch.bucketize(confidence, bounds[1:-1], right=True)

"""`trainer.test` and `trainer.validate` of a net that is frozen for good use what an earlier one has computed."""

from pathlib import Path

import pytest
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from tests.callbacks.feature_cache.cached_fits import Computed, Pictures, cache, loaders

pytestmark = pytest.mark.usefixtures("caching_pays")


class Frozen(Pictures):
    """Its backbone is frozen for good."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone.requires_grad_(False)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test_loss", self.training_step(batch, batch_idx))


@pytest.mark.parametrize("verb", ["test", "validate"])
def test_a_second_test_computes_nothing(verb: str, tmp_path: Path) -> None:
    loader, results, computed = loaders()[1], [], []
    for callbacks in ([], [cache(tmp_path)], [cache(tmp_path)]):
        trainer = Trainer(
            callbacks=list[Callback](callbacks),
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module = Frozen()
        with Computed() as frozen:
            results.append(getattr(trainer, verb)(module, loader, verbose=False))
        computed.append(frozen.samples)
        assert "forward" not in vars(module.backbone)
    assert results[0] == results[1] == results[2]
    assert (computed[0], computed[2]) == (0, 0)
    assert computed[1] >= 14

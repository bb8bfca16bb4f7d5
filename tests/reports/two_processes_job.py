"""A process of a fit on two: python two_processes_job.py FOLDER URI."""

import sys
from typing import Any

from lightning.pytorch import Trainer, seed_everything

from plt_nn import MLP, BestLossStopping, Classifier, DigitsData, DurableMLFlowLogger
from plt_nn.callbacks import FitCosts, ValidationFigures
from plt_nn.reports import RunReport


def main() -> None:
    folder, uri = sys.argv[1:]
    seed_everything(0, verbose=False)
    logger = DurableMLFlowLogger("digits", store=f"{folder}/mlruns", tracking_uri=uri, flush_seconds=0)
    options: dict[str, Any] = {"enable_model_summary": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=1,
        logger=logger,
        default_root_dir=folder,
        callbacks=[BestLossStopping(), FitCosts(), ValidationFigures(), RunReport()],
        **options,
    )
    trainer.fit(Classifier(MLP(64, [16], 10)), DigitsData(layout="flat", batch_size=128))


if __name__ == "__main__":
    main()

"""Delivers the model of a run: the best weights, and with their card a model that stands alone."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlflow.entities import LoggedModel, LoggedModelStatus, Run

from plt_nn.tracking import tags
from plt_nn.tracking.upload.remote import MetricRow, Remote


class BestModel(NamedTuple):
    """The best weights of a run.

    Attributes:
        file: The file.
        digest: The digest of its content.
        reached: The metrics that they have reached.
        rows: The same as rows that the run has too.
        step: The step at which that was.
        card: The model card, as JSON; None where the net could not be described.
    """

    file: Path
    digest: str
    reached: Mapping[str, float]
    rows: Sequence[MetricRow]
    step: int
    card: str | None


def put_model(remote: Remote, run: Run, best: BestModel) -> str:
    """Makes the best weights the run's model, in place of an earlier one; a call that was cut short can be repeated.

    The model's tags say by which metric it is the best, the value, and the digests of the data.

    Args:
        remote: Where to.
        run: The run.
        best: The weights.

    Returns:
        MLflow's id of the model.
    """
    now = remote.run(run.info.run_id)  # with the data that was logged since
    told = {tags.STEP: str(best.step)} | _tags(best, now)
    model, others = remote.model_of(now, best.digest, told)
    if model.status != LoggedModelStatus.READY:
        files = _files(remote, now, model, best)
        remote.fill_model(now, model, files, best.rows, best.step)
        if files != best.file:
            shutil.rmtree(files, ignore_errors=True)
    for older in others:
        remote.remove_model(older)
    return str(model.model_id)


def _files(remote: Remote, run: Run, model: LoggedModel, best: BestModel) -> Path:
    """The folder of a model that stands alone; the weights alone where there is no card, or none that can be used."""
    if best.card is None:
        return best.file
    from plt_nn.tracking.upload.model_folder import make_model_folder  # which takes a second to import

    folder = best.file.with_name("alone")
    try:
        make_model_folder(folder, best.file, best.card, model, {"plt_nn": _facts(best, run)})
    except OSError:  # a full disk, which may have room later
        raise
    except Exception as error:  # noqa: BLE001  # the weights are worth more, and another try would end as this one
        reason = f"{type(error).__name__}: {error}"[:1000]
        remote.log(run.info.run_id, tags={tags.NOT_DEPLOYABLE: reason})
        return best.file
    return folder


def _facts(best: BestModel, run: Run) -> dict[str, Any]:
    reached, uid = dict(best.reached), run.data.tags.get(tags.UID, "")
    return {"run": uid, "step": best.step, "reached": reached, "data": _data(run)}


def _tags(best: BestModel, run: Run) -> dict[str, str]:
    told = {f"{tags.DATA}.{context}": digest for context, digest in _data(run).items()}
    if best.card is not None:
        card = json.loads(best.card)
        told |= {tags.MONITOR: card["monitor"], tags.MODE: card["mode"]}
        if (value := best.reached.get(card["monitor"])) is not None:
            told[tags.VALUE] = repr(value)
    return told


def _data(run: Run) -> dict[str, str]:
    """The use of each data set of a run, such as `validation`, and its digest."""
    found = run.inputs.dataset_inputs if run.inputs is not None else []
    digests = {}
    for each in found:
        use = next((tag.value for tag in each.tags if tag.key == tags.DATA_CONTEXT), "data")
        digests[use] = each.dataset.digest
    return digests

"""Brings what resuming needs from MLflow, for a run that was made on another machine."""

from pathlib import Path
from tempfile import TemporaryDirectory

from plt_nn.errors import ConfigError, TrackingError
from plt_nn.tracking.masking import masked_text
from plt_nn.tracking.resume import Resumable
from plt_nn.tracking.store import Store
from plt_nn.tracking.tags import CHECKPOINTS, CONFIG_FILE, UID
from plt_nn.tracking.upload.environment import set_defaults
from plt_nn.tracking.upload.retries import in_words


def fetch_run(uri: str, store: Store, word: str) -> Resumable | None:
    """Downloads a run's configuration and checkpoints into the store.

    Args:
        uri: The address of the MLflow server.
        store: Where they are put.
        word: The run's uid or MLflow's id.

    Returns:
        The run; None if the server knows none of this name.

    Raises:
        ConfigError: If no checkpoint of the run is in MLflow.
        TrackingError: If the server does not answer.
    """
    set_defaults()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    from plt_nn.tracking.read.find_run import find_run_on_server

    found = find_run_on_server(uri, word)
    if found is None:
        return None
    client, place = MlflowClient(uri), masked_text(uri)
    try:
        tags = client.get_run(found.run).data.tags
        experiment = client.get_experiment(found.experiment).name
        run = Resumable(tags.get(UID, ""), experiment, store.checkpoints / experiment / tags.get(UID, ""))
        names = [item.path for item in client.list_artifacts(found.run, CHECKPOINTS)]
        if not run.uid or not any(name.endswith(".ckpt") for name in names):
            raise ConfigError(
                f"--resume {word}: no checkpoint of this run is in MLflow at {place}. Runs that are to be resumed on "
                "another machine need `checkpoints: last` (or `all`) of DurableMLFlowLogger."
            )
        run.folder.mkdir(parents=True, exist_ok=True)
        for name in [CONFIG_FILE, *names]:
            with TemporaryDirectory(dir=run.folder) as partial:  # where in it MLflow puts a file depends on the store
                target = run.folder / name
                target.parent.mkdir(exist_ok=True)
                Path(client.download_artifacts(found.run, name, partial)).replace(target)
    except (MlflowException, OSError) as error:
        raise TrackingError(f"{word} cannot be fetched from MLflow at {place}: {in_words(error)}") from error
    return run

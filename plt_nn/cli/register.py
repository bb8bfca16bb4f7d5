"""`plt-nn register`: puts the model of a run into MLflow's registry."""

import argparse

from plt_nn.cli.options import add_store
from plt_nn.errors import ConfigError
from plt_nn.tracking import tags
from plt_nn.tracking.mlflow_client import asking
from plt_nn.tracking.store import store_at


def run(argv: list[str]) -> int:
    """Registers the model of a run.

    Raises:
        ConfigError: If there is no such model, or if it would replace a better one.
        TrackingError: If MLflow does not answer.
    """
    arguments = _parser().parse_args(argv[1:])
    from plt_nn.deployment.find_model import BEST_OF, best_model_of, client_of, model_of_run
    from plt_nn.deployment.register import register

    store = store_at(arguments.store)
    word = str(arguments.run)
    model = (
        best_model_of(word.removeprefix(BEST_OF), store)[0] if word.startswith(BEST_OF) else model_of_run(word, store)
    )
    if model is None:
        raise ConfigError(f"The run {word} has no model in MLflow (yet: `plt-nn sync` delivers what is left).")
    if tags.MONITOR not in model.tags:
        raise ConfigError(
            f"The model of {word} does not stand alone, so it could not be used from the registry; the run's tag "
            f"`{tags.NOT_DEPLOYABLE}` says why."
        )
    uri, client = client_of(store)
    with asking(uri, "could not register the model"):
        done = register(client, model, arguments.name, arguments.alias, arguments.force)
    made = f"version {done.version}{', which is new,' if done.is_new else ''} is {arguments.name}@{arguments.alias}"
    print(f"{made}: {done.comparison}")
    print(f"Use it with `plt-nn predict --model models:/{arguments.name}@{arguments.alias} PATHS...`")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plt-nn register",
        description="Put the model of a run into MLflow's registry under a name and an alias. A model that has the "
        "alias and is better, by the same metric on the same validation data, is not replaced.",
    )
    parser.add_argument("run", metavar="RUN", help="a run's uid, MLflow's id of it, `last`, or best-of:EXPERIMENT")
    parser.add_argument("--name", required=True, help="the registered model")
    parser.add_argument("--alias", default="champion", help="the alias (default: champion)")
    parser.add_argument("--force", action="store_true", help="replace a better model too")
    add_store(parser)
    return parser

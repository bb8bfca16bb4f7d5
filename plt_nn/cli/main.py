"""`plt-nn`: finds the verb, imports only what it needs, and turns errors into sentences."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version

from plt_nn.errors import ConfigError, PltNNError, did_you_mean

DEBUG = "PLT_NN_DEBUG"  # an environment variable, so that the processes of a distributed run know it too


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Args:
        module: The module, imported when the verb is used. Its function `run(argv) -> int` takes the verb and its words
            and returns the exit status.
        summary: One line for the help.
    """

    module: str
    summary: str


VERBS = {
    "fit": Verb("plt_nn.cli.train", "train a net as a YAML file says, and log the run"),
    "validate": Verb("plt_nn.cli.train", "measure a net on the validation data"),
    "test": Verb("plt_nn.cli.train", "measure a net on the test data"),
    "predict": Verb("plt_nn.cli.predict", "write what a model predicts for images"),
    "rank": Verb("plt_nn.cli.rank.command", "measure which pretrained net suits your images, and what to train"),
    "plan": Verb("plt_nn.cli.plan.command", "show what each phase of a freezing schedule trains and costs"),
    "audit": Verb("plt_nn.cli.audit", "find what is wrong with a folder of images: duplicates, labels, splits"),
    "evaluate": Verb("plt_nn.cli.evaluate", "measure a model on a folder of images, with intervals"),
    "export": Verb("plt_nn.cli.export", "write a model as ONNX, torch.export or plain weights"),
    "register": Verb("plt_nn.cli.register", "put the model of a run into MLflow's registry"),
    "sync": Verb("plt_nn.cli.sync", "deliver to MLflow what runs have logged"),
    "ui": Verb("plt_nn.cli.ui.command", "open the MLflow UI on the runs in mlruns/"),
    "runs": Verb("plt_nn.cli.runs", "list what runs, what has died, where, how far, and the best so far"),
    "compare": Verb("plt_nn.cli.compare", "show the runs of an experiment side by side"),
    "features": Verb("plt_nn.cli.features", "list or remove the cached outputs of frozen parts of nets"),
    "relocate": Verb("plt_nn.cli.relocate", "correct the paths of artifacts after the folder has been moved"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `plt-nn`.

    Args:
        argv: The words after `plt-nn`. Default: those of this process.

    Returns:
        The exit status: 0, 1 when a run failed, 2 for a mistake in the call or the configuration, and as shells count
        signals, 130 after Ctrl-C and 143 after SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if "--debug" in words:
        words.remove("--debug")
        os.environ[DEBUG] = "1"
    try:
        return _run(words)
    except PltNNError as error:
        if os.environ.get(DEBUG):
            raise
        print(f"plt-nn: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130


def _run(words: list[str]) -> int:
    if not words or words[0].startswith("-"):
        _parser().parse_args(words or ["--help"])
        return 0
    verb = VERBS.get(words[0])
    if verb is None:
        hint = did_you_mean(words[0], VERBS) or f" Valid: {', '.join(VERBS)}."
        raise ConfigError(f"unknown verb {words[0]!r}.{hint}")
    run: Callable[[list[str]], int] = import_module(verb.module).run
    return run(words)


def _parser() -> argparse.ArgumentParser:
    verbs = "\n".join(f"  {name:<10}{verb.summary}" for name, verb in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="plt-nn",
        usage="plt-nn VERB [--config FILE.yaml] [--KEY VALUE ...] [--plain] [--debug]",
        description="Fine-tune pretrained vision models on your own images with PyTorch Lightning.",
        epilog=f"verbs:\n{verbs}\n\n`plt-nn VERB --help` shows what a verb takes. --plain prints progress in lines in\n"
        "a terminal too. --debug shows tracebacks.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"plt-nn {version('plt-nn')}")
    return parser

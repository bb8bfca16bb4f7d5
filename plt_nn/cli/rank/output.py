"""What both kinds of `plt-nn rank` write and say at their end."""

from pathlib import Path

from rich.console import Console


def say(text: str) -> None:
    """Prints a sentence beside the results, to stderr."""
    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)


def write_configuration(file: Path | None, configuration: str) -> None:
    """Writes the advice as a configuration, if a file is named.

    Args:
        file: The file of `--write`; its folder is made.
        configuration: The text.
    """
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(configuration, "utf-8")
        say(f"Run it with: plt-nn fit --config {file}")


def say_where(uid: str, is_delivered: bool) -> None:
    """Says how to open the run that was logged.

    Args:
        uid: Its uid.
        is_delivered: Whether it is in MLflow.
    """
    say(f"Open it with: plt-nn ui --run {uid}" if is_delivered else "Not in MLflow yet: `plt-nn sync` delivers it.")

"""jsonargparse's messages in a sentence, with the nearest valid names."""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name

from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer

import plt_nn
from plt_nn.errors import ConfigError, did_you_mean

_CLASSES = [f"plt_nn.{name}" for name in plt_nn.__all__]
_OPTIONS = ["config", "print_config", "seed_everything", "model", "data", "ckpt_path"] + [
    f"trainer.{name}" for name in list(inspect.signature(Trainer.__init__).parameters)[1:]
]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns the errors of jsonargparse and Lightning about a configuration into ours.

    Raises:
        ConfigError: In their place.
    """
    try:
        yield
    except ArgumentError as error:
        raise ConfigError(plain_message(str(error))) from error
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split())) from error


def plain_message(message: str) -> str:
    """The message without the list of everything that was tried and the whole value that was given.

    Args:
        message: The text of an error of jsonargparse.
    """
    text = " ".join(message.split())
    if text.startswith("the following arguments are required"):
        return f"{text.replace('.', ': ')}. Give a configuration: --config FILE.yaml."
    if found := re.match(r"unrecognized arguments: --(\S+)", text):
        return f"{text}.{did_you_mean(found[1], _OPTIONS)}"
    if found := re.search(r"Expected a dot import path string: (\S+)", text):
        before = text[: found.start()]
        if wanted := re.search(r"Expected a <class '(bool|int|float|str)'> - $", before):  # or a tensor
            keys = ".".join(re.findall(r'Parser key "([^"]*)"', before))
            return f"{keys}: expected a {wanted[1]}, got {found[1]!r}."
        return f"{text.partition(':')[0]}: there is no class {found[1]!r}.{did_you_mean(found[1], _CLASSES)}"
    text = re.sub(r"Does not validate against any of the Union subtypes Subtypes: \[.*?\] Errors: - ", "", text)
    text = re.sub(r" - Expected a <class 'NoneType'>.*?(?=Given value: (?!Namespace|NestedArg|{)|$)", " ", text)
    text = re.sub(r"(Expected .*?) - Not a valid subclass of .*$", r"\1", text)  # of a class whose argument is wrong
    text = re.sub(r"Given value: (?:Namespace|NestedArg|{).*$", "", text)
    text = re.sub(r"Problem with given class_path '([^']*)':", r"\1:", text)
    text = re.sub(r'Parser key "([^"]*)":', r"\1:", text)
    text = re.sub(r"<class '([^']*)'>", r"\1", text).replace("typing.Literal", "one of ")
    return " ".join(text.split()) + _nearest_option(text)


def _nearest_option(text: str) -> str:
    found = re.search(r"([\w.]+): Option '([^']+)' is not accepted", text)
    if found is None:
        return ""
    try:
        valid = inspect.signature(resolve_name(found[1])).parameters
    except (ImportError, AttributeError, TypeError, ValueError):  # a short name, or a class without a signature
        return ""
    return "." + did_you_mean(found[2].rpartition(".")[2], valid)

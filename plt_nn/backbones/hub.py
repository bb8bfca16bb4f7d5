"""Checks whether weights can be downloaded, because the libraries' clients would retry for minutes."""

import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch.hub

from plt_nn.errors import WeightsError

_SECONDS = 5.0


def require_reachable(url: str, net: str, alternatives: list[str]) -> None:
    """Returns if the host of `url` answers, or if a proxy is configured.

    huggingface_hub 2.4 retries for 47 seconds without a network, and longer behind a firewall that drops packets.

    Args:
        url: The address of the weights.
        net: The net, for the error.
        alternatives: Other values of `pretrained` that could be used.

    Raises:
        WeightsError: The host does not answer within five seconds.
    """
    if getproxies().keys() & {"http", "https", "all"}:
        return
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=_SECONDS):
            return
    except OSError as error:
        raise download_error(url, net, alternatives, error) from error


def is_in_torch_cache(url: str) -> bool:
    """Whether torch.hub has downloaded this file before."""
    return Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name).is_file()


def download_error(url: str, net: str, alternatives: list[str], reason: Exception) -> WeightsError:
    """The error for weights that could not be downloaded; it names the alternatives."""
    others = "".join(f", pretrained={other!r}" for other in alternatives)
    return WeightsError(
        f"The weights of {net} could not be downloaded ({reason}). Fetch {url} on a machine that has a connection and "
        f"give the file: pretrained='/path/to/{Path(urlsplit(url).path).name}'. Or choose pretrained=False (random "
        f"weights){others}."
    )

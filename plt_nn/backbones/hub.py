"""Checks whether weights can be downloaded, because the libraries' clients would retry for minutes."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch.hub

from plt_nn.errors import WeightsError

_SECONDS = 5.0


@contextmanager
def downloading(url: str, net: str, is_cached: bool, alternatives: Sequence[str] = ()) -> Iterator[None]:
    """What happens inside may download weights; at once refused unless the host answers or a proxy is configured.

    huggingface_hub 2.4 retries for 47 seconds without a network, and longer behind a firewall that drops packets.

    Args:
        url: The address of the weights.
        net: The net, for the error.
        is_cached: Whether the weights are on this machine already, so that the host need not answer.
        alternatives: Other values of `pretrained` that could be used, for the error.

    Raises:
        WeightsError: The host does not answer within five seconds, or the download fails.
    """
    parts = urlsplit(url)
    try:
        if not is_cached and not getproxies().keys() & {"http", "https", "all"}:
            socket.create_connection((parts.hostname or "", parts.port or 443), timeout=_SECONDS).close()
        yield
    except OSError as error:
        others = "".join(f", pretrained={other!r}" for other in alternatives)
        raise WeightsError(
            f"The weights of {net} could not be downloaded ({error}). Fetch {url} on a machine that has a connection "
            f"and give the file: pretrained='/path/to/{Path(parts.path).name}'. Or choose pretrained=False (random "
            f"weights){others}."
        ) from error


def is_in_torch_cache(url: str) -> bool:
    """Whether torch.hub has downloaded this file before."""
    return Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name).is_file()

"""What the tests of every optimizer share."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def nothing_compiled() -> Iterator[None]:
    """Runs as written what an optimizer would compile: timm's Kron takes ten seconds for that, and for nothing here."""
    with torch.compiler.set_stance("force_eager"):
        yield

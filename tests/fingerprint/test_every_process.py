"""Identities and fingerprints are the same in every process, whatever its seed of hashes."""

import pytest

from tests.another_process import printed_everywhere

IDENTITIES = """
import torch
from torchvision.transforms import v2
from plt_nn.fingerprint.identity import object_identity
print(object_identity([v2.Resize(32), v2.ColorJitter(0.5), {"a", "b", "c"}, {"x": torch.ones(3)}]))
"""

HASHES = """
from plt_nn.fingerprint.identity import object_identity
from tests.fingerprint.test_object_hasher import KNOWN, VARIANTS, variant
print({name: object_identity(value) for name, value in KNOWN.items() if name != "module"})
print({name: object_identity(variant(name)) for name in VARIANTS})
print(object_identity({variant(name) for name in ("a helper that calls it", "a class", "a static method")}))
"""

FRONTIERS = """
import torch
from torch import nn
from plt_nn.frontier.cut import cut
from plt_nn.frontier.fingerprint import frontier_fingerprint
from tests.frontier.test_fingerprint import CODES, Custom, encoder, fingerprint
class Odd(Custom):
    def forward(self, x):
        names = [name for name in ("a", "b", "c") if name in {"a", "c"}]
        return super().forward(x) * sum(map(lambda name: len(name), names))
torch.manual_seed(0)
net = nn.Sequential(Odd(fixed={"b", "a"}).eval().requires_grad_(False), nn.Linear(4, 2))
print(frontier_fingerprint(cut(net)))
for name in CODES:
    print(fingerprint(encoder(name, 1.0)))
"""


@pytest.mark.multiprocess
def test_they_are_the_same_in_every_process() -> None:
    assert "None" not in printed_everywhere(IDENTITIES + HASHES + FRONTIERS)

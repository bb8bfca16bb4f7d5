"""A digest sees the change of a single bit, in any dtype and any layout."""

import pytest
import torch

from plt_nn.fingerprint.digest import digests, names_that_differ


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64]
)
def test_a_change_of_one_element_is_seen(dtype: torch.dtype) -> None:
    tensor = torch.ones(3, 5, 7).to(dtype)
    before = digests({"a": tensor})
    changed = tensor.clone()
    changed[2, 4, 6] = 0
    assert digests({"a": tensor.clone()}) == before
    assert names_that_differ(before, digests({"a": changed})) == ["a"]


def test_layout_does_not_matter_but_the_sign_of_zero_does() -> None:
    image = torch.randn(2, 3, 4, 4)
    assert digests({"x": image}) == digests({"x": image.to(memory_format=torch.channels_last)})
    assert digests({"x": torch.tensor(0.0)}) != digests({"x": torch.tensor(-0.0)})


def test_a_missing_name_differs_and_empty_tensors_have_a_digest() -> None:
    assert names_that_differ(digests({"a": torch.empty(0), "b": torch.tensor(1)}), digests({"a": torch.empty(0)})) == [
        "b"
    ]
    assert all(-(2**63) <= digest < 2**63 for digest in digests({"a": torch.randn(4)}).values())

"""Every fault of a data set in one message, so that it is mended in one go."""

from collections.abc import Sequence

from plt_nn.errors import DataError


def raise_faults(subject: str, faults: Sequence[str]) -> None:
    """Raise one `DataError` that lists all faults; do nothing when there are none.

    Args:
        subject: What cannot be used, as the beginning of a sentence.
        faults: One sentence for each fault.

    Raises:
        DataError: There is a fault.
    """
    if faults:
        raise DataError("\n".join([f"{subject} cannot be used as it is:", *(f"  - {fault}" for fault in faults)]))


def some_of(names: Sequence[str], most: int = 5) -> str:
    """The names as a list in a sentence, shortened where there are many."""
    listed = ", ".join(repr(name) for name in names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"

"""Whether it pays to keep features, from measured costs. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """What keeping features costs and saves.

    Args:
        compute: Seconds to compute the features of a batch.
        write: Seconds to keep them.
        read: Seconds to read them back.
        passes: How often each sample is still to be seen, this time included; infinite if nobody knows.
    """

    compute: float
    write: float
    read: float
    passes: float

    @property
    def saved(self) -> float:
        """Seconds saved on a batch over all passes, which is below 0 where it does not pay."""
        return (self.passes - 1) * (self.compute - self.read) - self.write

    def pays(self) -> bool:
        """Whether keeping them pays."""
        return self.passes > 1 and self.saved > 0

    def in_words(self) -> str:
        """The figures on which that rests."""
        left = "" if self.passes == float("inf") else f", {self.passes - 1:.0f} more passes"
        return f"{1e3 * self.compute:.1f} ms a batch to compute, {1e3 * self.read:.1f} ms to read back{left}"

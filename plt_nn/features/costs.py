"""Whether caching features pays, judged by measured costs. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """What caching features costs and saves.

    Args:
        compute: Seconds to compute the features of a batch.
        write: Seconds to store them.
        read: Seconds to read them back.
        passes: How often each sample will be seen, including this time; infinite if that is unknown.
    """

    compute: float
    write: float
    read: float
    passes: float

    @property
    def saved(self) -> float:
        """Seconds saved on a batch over all passes; negative if caching does not pay."""
        return (self.passes - 1) * (self.compute - self.read) - self.write

    def pays(self) -> bool:
        """Whether caching pays."""
        return self.passes > 1 and self.saved > 0

    def in_words(self) -> str:
        """The figures behind the decision."""
        left = "" if self.passes == float("inf") else f", {self.passes - 1:.0f} more passes"
        return f"{1e3 * self.compute:.1f} ms a batch to compute, {1e3 * self.read:.1f} ms to read back{left}"

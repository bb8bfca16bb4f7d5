"""How a run has ended, and what must be said then. Pure."""

from lightning.pytorch.utilities.exceptions import SIGTERMException

from plt_nn.tracking.masking import masked_code
from plt_nn.tracking.run_spool import RunSpool
from plt_nn.tracking.upload.backlog import Backlog


def how_it_ended(status: str, error: BaseException | None) -> tuple[str, str | None]:
    """How a run has ended, in MLflow's words, and why.

    Args:
        status: What Lightning says to a logger: `success` or `failed`.
        error: The exception that is being handled: Lightning finalizes its loggers while it handles what ended the fit.
    """
    if status != "failed":
        return "FINISHED", None
    if isinstance(error, KeyboardInterrupt):
        return "KILLED", "Interrupted from the keyboard."
    if isinstance(error, SIGTERMException):
        return "KILLED", "Ended by SIGTERM."
    return "FAILED", masked_code(f"{type(error).__name__}: {error}") if error is not None else None


def sentences(left: Backlog, spool: RunSpool) -> list[str]:
    """What must be said when a run has ended.

    Args:
        left: What is not delivered yet.
        spool: The run's spool.
    """
    told: list[str] = []
    if not left.is_nothing:
        because = f" ({left.reason})" if left.reason else ""
        told.append(
            f"{max(left.size, 0) / 1000:,.0f} kB of the log and {left.files} files are not in MLflow yet{because}. "
            "Nothing is lost: the uploader goes on trying, and `plt-nn sync` delivers them at any time."
        )
    if left.refused:
        told.append(f"MLflow refused {left.refused} entries; they are in {spool.folder.quarantine}.")
    if left.missing:
        told.append(f"these files were gone before they could be delivered: {', '.join(left.missing)}.")
    if spool.lost:
        told.append(f"{spool.lost} rows could not be written to {spool.folder.root} and are lost.")
    return told

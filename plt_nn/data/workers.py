"""Workers of loaders that outlive SIGTERM, and end with the process that started them."""

import atexit
import multiprocessing
import multiprocessing.util  # registers its own end first, so that it comes after ours
import signal

_SECONDS = 1.0


def outlive_sigterm(worker: int) -> None:
    """Lets a worker end when its loader does: a scheduler sends SIGTERM to every process of a job.

    Were the worker the first to go, the step would fail before training could end in good order.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    """Ends what `multiprocessing` would ask to end by SIGTERM, and wait for without an end.

    So it is with the workers of a loader that somebody is still reading from when the process ends.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's own handler raises an error when a worker is killed
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(_SECONDS / len(workers) if worker.exitcode is None else 0)
        worker.kill()

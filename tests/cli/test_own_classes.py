"""The program `plt-nn` finds a net's class in a file of the working directory, though Python does not look there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import warm
from tests.cli.conftest import environment

PROGRAM = """
import sys
from plt_nn.cli.main import main
sys.exit(main())
"""
NET = """
from plt_nn import MLP
class OwnNet(MLP):
    def __init__(self, width):
        super().__init__(64, [width], 10)
"""


@pytest.mark.parametrize("verb", ["fit", "plan"])
def test_a_class_in_the_working_directory_is_found(verb: str, tiny: Callable[..., Path], here: Path) -> None:
    net = {"class_path": "nets_in_a_file.OwnNet", "init_args": {"width": 8}}
    schedule = {"class_path": "plt_nn.FreezingSchedule", "init_args": {"phases": [{"train": "head"}]}}
    tiny(lambda config: (config["model"]["init_args"].update(net=net), config["trainer"]["callbacks"].append(schedule)))
    (here / "nets_in_a_file.py").write_text(NET)
    (here / "bin").mkdir()
    (here / "bin" / "plt-nn.py").write_text(PROGRAM)
    words = [here / "bin" / "plt-nn.py", verb, "--config", "tiny.yaml"]
    done = warm.run([*words, "--trainer.fast_dev_run", "true"] if verb == "fit" else words, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    (here / "nets_in_a_file.py").unlink()
    done = warm.run(words, env=environment())
    assert done.returncode == 2
    assert "there is no 'nets_in_a_file.OwnNet'" in done.stderr

"""A ranking as people, programs and MLflow read it."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from rich.console import Group, RenderableType
from rich.text import Text

from plt_nn.text_table import TextTable
from plt_nn.tracking.store import Store
from plt_nn.tracking.written_runs import WrittenRun, deliver, write_run


@dataclass(frozen=True)
class Report:
    """A ranking, the advice and its evidence.

    Args:
        tables: The candidates, and what else was measured.
        left_out: Sentences that say what could not be tried or finished.
        plain: All of it as plain values.
        children: A run for each candidate, the best first.
        params: The parameters of the run above them.
        metrics: The metrics of the run above them.
        advice: Sentences of advice and evidence.
        configuration: The advice as a configuration for `plt-nn fit`; None if there is no advice.
        files: Further artifacts: name -> content.
    """

    tables: Sequence[TextTable]
    left_out: Sequence[str]
    plain: Mapping[str, Any]
    children: Sequence[WrittenRun]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    advice: Sequence[str] = ()
    configuration: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    def as_text(self) -> Group:
        """The report for a terminal."""
        parts: list[RenderableType] = [part for table in self.tables for part in (table.as_rich(), "")]
        parts += [Text("Advice", "bold")] if self.advice else []
        return Group(*parts, *map(Text, self._lines()))

    def as_markdown(self) -> str:
        """The report in Markdown."""
        lines = "\n".join(f"- {line}" for line in self._lines())
        return "\n\n".join([*(table.as_markdown() for table in self.tables), lines]).strip()

    def as_json(self) -> str:
        """The report in JSON."""
        return json.dumps(self.plain, indent=1)

    def record(self, store: Store, experiment: str) -> tuple[str, bool]:
        """Logs the ranking as a run with a child for each candidate.

        Returns:
            The uid of the run, and whether everything is in MLflow.

        Raises:
            TrackingError: The store cannot be written.
        """
        note = self.as_markdown()
        files = {"ranking.md": note.encode(), "ranking.json": self.as_json().encode(), **self.files}
        if self.configuration is not None:
            files["recommended.yaml"] = self.configuration.encode()
        metrics = at_start({**self.metrics, "candidates": len(self.children)})
        parent = write_run(store, experiment, WrittenRun("rank", self.params, metrics, note=note, files=files))
        folders = [parent]
        for number, child in enumerate(self.children, 1):
            ranked = replace(child, metrics={**child.metrics, "rank": {0: float(number)}})
            folders.append(write_run(store, experiment, ranked, parent.uid))
        return parent.uid, deliver(folders)

    def _lines(self) -> list[str]:
        return [*self.advice, *(f"Left out: {sentence}" for sentence in self.left_out)]


def at_start(metrics: Mapping[str, float]) -> dict[str, dict[int, float]]:
    """Metrics of step 0, as a run has them."""
    return {name: {0: float(value)} for name, value in metrics.items()}


def as_configuration(
    comments: Sequence[str],
    model: str,
    net: Mapping[str, Any],
    lr: float,
    data: Mapping[str, Any],
    trainer: Mapping[str, Any],
) -> str:
    """A configuration for `plt-nn fit`, with comments above it.

    Args:
        comments: Sentences: the command that made it, and the evidence.
        model: The class of the module.
        net: The class and the arguments of its net.
        lr: The learning rate of AdamW.
        data: The class and the arguments of the data.
        trainer: The arguments of the trainer.
    """
    lines = [line for comment in comments for line in textwrap.wrap(comment, 116, subsequent_indent="  ")]
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": lr}}
    configuration = {
        "seed_everything": 0,
        "trainer": dict(trainer),
        "model": {"class_path": model, "init_args": {"net": dict(net), "optimizer": optimizer}},
        "data": dict(data),
    }
    return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(configuration, sort_keys=False, width=110)

"""An audit as text for the terminal, Markdown or JSON."""

import json
from collections.abc import Callable
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from plt_nn.audit.audit import Audit
from plt_nn.audit.feature_findings import DOUBTED
from plt_nn.audit.file_findings import class_counts
from plt_nn.audit.findings import Finding, images_of, printable

Format = Literal["text", "md", "json"]
FORMATS: tuple[Format, ...] = ("text", "md", "json")
_MOST_CLASSES = 30
_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
NOTHING = "Nothing was found that needs to be mended."


def as_text(audit: Audit) -> RenderableType:
    """The tables and findings for the terminal, the gravest first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    header, *lines = count_table(audit)
    for at, name in enumerate(header):
        table.add_column(Text(name), justify="right" if at else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))  # a name in brackets is no markup
    parts: list[RenderableType] = [Text(title(audit), "bold"), table, Text(facts(audit))]
    for finding in audit.findings:
        mend = f" {finding.mend}" if finding.mend else ""
        style = _STYLES[finding.severity]
        parts += [Text(), Text.assemble((f"{finding.severity}: {finding.kind}", style)), Text(finding.sentence + mend)]
        parts += [Text(f"  {line}") for line in examples(audit, finding)]
    return Group(*parts, *([] if audit.findings else [Text(), Text(NOTHING)]))


def as_markdown(audit: Audit) -> str:
    """The same in Markdown."""
    header, *lines = ([_escaped(cell) for cell in line] for line in count_table(audit))
    rule = ["---", *["---:"] * (len(header) - 1)]
    parts = [f"# {_escaped(title(audit))}", "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))]
    parts.append(_escaped(facts(audit)))
    for finding in audit.findings:
        mend = f" {finding.mend}" if finding.mend else ""
        told = [f"- **{finding.severity}: {finding.kind}.** {_escaped(finding.sentence + mend)}"]
        parts.append("\n".join(told + [f"  - {_escaped(line)}" for line in examples(audit, finding)]))
    return "\n\n".join(parts if audit.findings else [*parts, NOTHING])


def as_json(audit: Audit) -> str:
    """Everything, with exact numbers."""
    return json.dumps(audit.as_dict(), indent=2)


def as_lines(audit: Audit, most: int = 3) -> list[str]:
    """The gravest findings in a line each, without the notes, for a command that audits first.

    Args:
        audit: The audit.
        most: How many; how many more there are is told in one more line.
    """
    grave = [finding for finding in audit.findings if finding.severity != "note"]
    lines = [f"{finding.severity}: {finding.sentence}" for finding in grave[:most]]
    return [*lines, f"... and {len(grave) - most} more."] if len(grave) > most else lines


def title(audit: Audit) -> str:
    """What was audited, in a line."""
    names = audit.folders.class_names
    classes = "1 class" if len(names) == 1 else f"{len(names):,} classes"
    return f"{printable(str(audit.root))}: {images_of(len(audit.images.paths))}, {classes}"


def facts(audit: Audit) -> str:
    """Sizes and kinds of pixels, how the splits came about, and what the labels were judged by."""
    told = audit.as_dict()
    parts = []
    if sizes := told["sizes"]:
        least, typical, most = (f"{width} x {height}" for width, height in sizes.values())
        one = f"All of {least} pixels."
        parts.append(one if least == most else f"Between {least} and {most} pixels, typically {typical}.")
    if told["modes"]:
        parts.append(f"Pixels: {', '.join(f'{mode} {count:,}' for mode, count in told['modes'].items())}.")
    if audit.folders.by_seed:
        parts.append(f"{' and '.join(audit.folders.by_seed)}: drawn from the training images by a seed.")
    if audit.suspects is None:
        parts.append("Labels were not judged, for that needs a pretrained net.")
    else:
        parts.append(f"Labels and what the splits show were judged by features of {audit.features_of}.")
    return " ".join(parts)


def count_table(audit: Audit) -> list[list[str]]:
    """A header, and a line for each class with its images in each split; of many classes those with the fewest."""
    counts = class_counts(audit.folders, audit.images)
    names = audit.folders.class_names
    order = sorted(range(len(names)), key=lambda code: sum(of_split[code] for of_split in counts.values()))
    shown = range(len(names)) if len(names) <= _MOST_CLASSES else order[:_MOST_CLASSES]
    lines = [[names[code], *(f"{of_split[code]:,}" for of_split in counts.values())] for code in shown]
    if len(names) > _MOST_CLASSES:
        rest = order[_MOST_CLASSES:]
        told = (f"{sum(of_split[code] for code in rest):,}" for of_split in counts.values())
        lines.append([f"{len(rest)} more classes", *told])
    total = ["all", *(f"{sum(of_split):,}" for of_split in counts.values())]
    return [["class", *counts], *lines, total]


def examples(audit: Audit, finding: Finding, most: int = 5) -> list[str]:
    """What the labels in doubt are, a line each; nothing for other findings, whose sentences have examples."""
    suspects = audit.suspects
    if finding.kind != DOUBTED or suspects is None:
        return []
    proposed = dict(zip(suspects.rows[:most].tolist(), suspects.proposed[:most].tolist(), strict=True))
    names: Callable[[int], str] = audit.folders.class_names.__getitem__
    lines = [f"{audit.name(row)}: rather {names(proposed[row])}?" for row in finding.rows[:most]]
    return [*lines, f"and {len(finding.rows) - most:,} more"] if len(finding.rows) > most else lines


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")

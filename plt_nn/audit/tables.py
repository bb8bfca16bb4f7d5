"""An audit as text for the terminal, Markdown or JSON."""

from typing import Literal

from rich.console import Group, RenderableType
from rich.text import Text

from plt_nn.audit.audit import Audit
from plt_nn.audit.feature_findings import DOUBTED
from plt_nn.audit.file_findings import class_counts
from plt_nn.audit.findings import Finding, printable
from plt_nn.text import counted, json_text
from plt_nn.text_table import TextTable, escaped

Format = Literal["text", "md", "json"]
FORMATS: tuple[Format, ...] = ("text", "md", "json")
_MOST_CLASSES = 30
_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
NOTHING = "Nothing was found that needs attention."


def as_text(audit: Audit) -> RenderableType:
    """The tables and findings for the terminal, the most serious first."""
    parts: list[RenderableType] = [Text(title(audit), "bold"), count_table(audit).as_rich(), Text(facts(audit))]
    for finding in audit.findings:
        parts += [Text(), Text(f"{finding.severity}: {finding.kind}", _STYLES[finding.severity]), Text(finding.text)]
        parts += [Text(f"  {line}") for line in examples(audit, finding)]
    return Group(*parts, *([] if audit.findings else [Text(), Text(NOTHING)]))


def as_markdown(audit: Audit) -> str:
    """The same in Markdown."""
    parts = [f"# {escaped(title(audit))}", count_table(audit).as_markdown(), escaped(facts(audit))]
    for finding in audit.findings:
        lines = [f"- **{finding.severity}: {finding.kind}.** {escaped(finding.text)}"]
        parts.append("\n".join(lines + [f"  - {escaped(line)}" for line in examples(audit, finding)]))
    return "\n\n".join(parts if audit.findings else [*parts, NOTHING])


def as_json(audit: Audit) -> str:
    """Everything, with exact numbers."""
    return json_text(audit.as_dict())


def summary_lines(audit: Audit, most: int = 3) -> list[str]:
    """The most serious findings in a line each, without the notes, and how many others there are."""
    grave = [finding for finding in audit.findings if finding.severity != "note"]
    lines = [f"{finding.severity}: {finding.sentence}" for finding in grave[:most]]
    return [*lines, f"... and {len(grave) - most} more."] if len(grave) > most else lines


def title(audit: Audit) -> str:
    """What was audited, in a line."""
    names = audit.folders.class_names
    count = counted(len(audit.images.paths), "image")
    return f"{printable(str(audit.root))}: {count}, {counted(len(names), 'class', 'classes')}"


def facts(audit: Audit) -> str:
    """Sizes and kinds of pixels, how the splits were made, and by which net the labels were judged."""
    known = audit.as_dict()
    parts = []
    if sizes := known["sizes"]:
        least, typical, most = (f"{width} x {height}" for width, height in sizes.values())
        one = f"All of {least} pixels."
        parts.append(one if least == most else f"Between {least} and {most} pixels, typically {typical}.")
    if known["modes"]:
        parts.append(f"Pixels: {', '.join(f'{mode} {count:,}' for mode, count in known['modes'].items())}.")
    if audit.folders.by_seed:
        parts.append(f"{' and '.join(audit.folders.by_seed)}: drawn from the training images at random.")
    if audit.label_issues is None:
        parts.append("Labels were not judged: that needs a pretrained net.")
    else:
        parts.append(f"Labels and splits were judged by features of {audit.features_of}.")
    return " ".join(parts)


def count_table(audit: Audit) -> TextTable:
    """The number of images of each class in each split, and of all; of many classes those with the fewest images."""
    counts = class_counts(audit.folders, audit.images)
    names = audit.folders.class_names
    order = sorted(range(len(names)), key=lambda code: sum(of_split[code] for of_split in counts.values()))
    shown = range(len(names)) if len(names) <= _MOST_CLASSES else order[:_MOST_CLASSES]
    lines = [[names[code], *(f"{of_split[code]:,}" for of_split in counts.values())] for code in shown]
    if len(names) > _MOST_CLASSES:
        rest = order[_MOST_CLASSES:]
        others = (f"{sum(of_split[code] for code in rest):,}" for of_split in counts.values())
        lines.append([counted(len(rest), "more class", "more classes"), *others])
    total = ["all", *(f"{sum(of_split):,}" for of_split in counts.values())]
    return TextTable(["class", *counts], [*lines, total], numeric=range(1, len(counts) + 1))


def examples(audit: Audit, finding: Finding, most: int = 5) -> list[str]:
    """The labels in doubt, one a line; nothing for other findings, whose sentences have examples."""
    if finding.kind != DOUBTED:
        return []
    lines = [f"{audit.name(row)}: rather {audit.proposed[row]}?" for row in finding.rows[:most]]
    return [*lines, f"and {len(finding.rows) - most:,} more"] if len(finding.rows) > most else lines

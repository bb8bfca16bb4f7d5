"""An audit as one page that needs nothing else: no network, no script, no other file."""

import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import chain

from plt_nn.audit.audit import Audit
from plt_nn.audit.feature_findings import DOUBTED
from plt_nn.audit.findings import Finding, printable
from plt_nn.audit.scan import thumbnail_of
from plt_nn.audit.tables import NOTHING, count_table, facts, title
from plt_nn.errors import DataError
from plt_nn.inference.images import decode_image
from plt_nn.reports.page import rendered, template

_SIDE = 160  # pixels of a thumbnail: about 5 kB
_MOST = 60  # thumbnails of a finding


@dataclass(frozen=True)
class Picture:
    """An image as the page shows it.

    Args:
        name: Its file within the folder.
        about: Its split and class.
        size: In pixels; empty where it cannot be read.
        proposed: The class that it rather looks like; empty where that is not known.
        source: A data URI; empty where it cannot be read.
        reason: Why it cannot be read; empty where it can.
    """

    name: str
    about: str
    size: str
    proposed: str
    source: str
    reason: str


@dataclass(frozen=True)
class Section:
    """A finding as the page shows it.

    Args:
        finding: The finding.
        sets: Its pictures: those that are the same side by side, or all in one.
        are_groups: Whether the pictures of a set are the same.
        left_out: How many images are not shown.
    """

    finding: Finding
    sets: Sequence[Sequence[Picture]]
    are_groups: bool
    left_out: int


def page(audit: Audit) -> str:
    """The page, for which the images are read again; whatever files and classes are called is shown as it is."""
    counts = count_table(audit)
    return rendered(
        "plt_nn.audit",
        "audit.html.jinja",
        title=f"Audit of {printable(audit.root.absolute().name)}",
        lead=title(audit),
        facts=facts(audit),
        header=counts.header,
        lines=counts.rows[:-1],
        total=counts.rows[-1],
        sections=[_section(audit, finding) for finding in audit.findings],
        nothing=NOTHING,
        made=f"Made by plt-nn audit on {time.strftime('%Y-%m-%d at %H:%M')}.",
        css=template("plt_nn.reports", "report.css") + template("plt_nn.audit", "audit.css"),
    )


def _section(audit: Audit, finding: Finding) -> Section:
    """A finding; if all of its images are duplicates, those that show the same picture are together."""
    picture_of = {row: at for at, group in enumerate(audit.duplicates.groups) for row in group.rows}
    are_groups = bool(finding.rows) and all(row in picture_of for row in finding.rows)
    groups: dict[int, list[int]] = {}
    for row in finding.rows:
        groups.setdefault(picture_of[row] if are_groups else 0, []).append(row)
    shown = set(list(chain.from_iterable(groups.values()))[:_MOST])
    is_doubted = finding.kind == DOUBTED
    sets = [[_picture(audit, row, is_doubted) for row in rows if row in shown] for rows in groups.values()]
    return Section(finding, list(filter(None, sets)), are_groups, len(finding.rows) - len(shown))


def _picture(audit: Audit, row: int, is_doubted: bool) -> Picture:
    images = audit.images
    width, height = images.sizes[row].tolist()
    about = f"{images.split_names[images.splits[row]]}, {audit.class_of(row)}"
    source, reason = "", printable(images.reasons.get(row, ""))
    if not reason:
        try:
            source = _data_uri(images.paths[row].read_bytes())
        except (OSError, DataError) as error:  # it has gone or changed since
            reason = printable(str(error))
    size = f"{width} x {height}" if width else ""
    return Picture(audit.name(row), about, size, audit.proposed[row] if is_doubted else "", source, reason)


def _data_uri(content: bytes) -> str:
    thumbnail = BytesIO()
    thumbnail_of(decode_image(content, preview=_SIDE), _SIDE).save(thumbnail, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(thumbnail.getvalue()).decode()}"

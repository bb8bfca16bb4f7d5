"""The audit of a folder of images."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plt_nn.audit.drift import Drift, find_drift
from plt_nn.audit.duplicate_findings import duplicate_findings
from plt_nn.audit.duplicates import DuplicateGroup, Duplicates, find_duplicates
from plt_nn.audit.feature_findings import drift_findings, label_issue_findings
from plt_nn.audit.file_findings import class_counts, file_findings
from plt_nn.audit.findings import SEVERITIES, Finding, printable
from plt_nn.audit.label_issues import LabelIssues, Method, find_label_issues, out_of_fold
from plt_nn.audit.scan import ScannedImages, scan_images
from plt_nn.data.class_folders import ClassFolders

_LEAST_LISTED = 0.1  # share of the labels that JSON lists, the most doubtful first, however few are flagged


@dataclass(frozen=True)
class Audit:
    """A folder of images, audited.

    Attributes:
        root: The folder.
        folders: Its classes and splits.
        images: Its images, scanned.
        duplicates: Those that occur more than once.
        drifts: How the splits that have folders of their own differ from training.
        label_issues: The labels, the most doubtful first; None without features.
        features_of: The net that the features are of, in words; empty without features.
    """

    root: Path
    folders: ClassFolders
    images: ScannedImages
    duplicates: Duplicates
    drifts: tuple[Drift, ...]
    label_issues: LabelIssues | None = None
    features_of: str = ""

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, the most serious first."""
        found = [
            *file_findings(self.root, self.folders, self.images),
            *duplicate_findings(self.images, self.duplicates, self.folders.by_seed, self.name),
            *(label_issue_findings(self.label_issues) if self.label_issues else ()),
            *drift_findings(self.drifts),
        ]
        return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))

    @property
    def crossing(self) -> list[DuplicateGroup]:
        """The duplicates that lie in more than one split."""
        return [group for group in self.duplicates.groups if group.is_across(self.images.splits)]

    @property
    def readable_paths(self) -> list[Path]:
        """The files that can be read, in their order."""
        return [self.images.paths[row] for row in np.flatnonzero(self.images.readable)]

    @cached_property
    def proposed(self) -> dict[int, str]:
        """Row of each label in doubt -> the class that the image rather looks like."""
        issues = self.label_issues
        if issues is None:
            return {}
        doubted = zip(issues.rows[: issues.flagged].tolist(), issues.proposed.tolist(), strict=False)
        return {row: self.folders.class_names[code] for row, code in doubted}

    def name(self, row: int) -> str:
        """The path of a file within the folder."""
        return printable(self.images.paths[row].relative_to(self.root).as_posix())

    def class_of(self, row: int) -> str:
        """The class that a file is labelled with."""
        return self.folders.class_names[int(self.images.labels[row])]

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain values, for JSON; of the labels in doubt those that are flagged, and a tenth at least."""
        images = self.images
        return {
            "root": printable(str(self.root)),
            "classes": self.folders.class_names,
            "splits": class_counts(self.folders, images),
            "splits_by_seed": self.folders.by_seed,
            "features_of": self.features_of or None,
            "modes": {mode: images.modes.count(mode) for mode in sorted(set(images.modes)) if mode},
            "sizes": self._sizes(),
            "unreadable": [
                {"file": self.name(row), "reason": printable(reason)} for row, reason in images.reasons.items()
            ],
            "duplicates": [self._group(group) for group in self.duplicates.groups],
            "labels_in_doubt": self._label_issues(self.label_issues) if self.label_issues else None,
            "drift": [vars(drift) for drift in self.drifts],
            "findings": [
                {name: value for name, value in vars(finding).items() if name != "rows"}
                | {"files": [self.name(row) for row in finding.rows]}
                for finding in self.findings
            ],
        }

    def _sizes(self) -> dict[str, list[int]]:
        sizes = self.images.sizes[self.images.readable]
        if len(sizes) == 0:
            return {}
        kinds = {"smallest": sizes.min(0), "median": np.median(sizes, 0), "largest": sizes.max(0)}
        return {name: values.astype(int).tolist() for name, values in kinds.items()}

    def _file(self, row: int) -> dict[str, Any]:
        return {"file": self.name(row), "class": self.class_of(row)}

    def _group(self, group: DuplicateGroup) -> dict[str, Any]:
        images = self.images
        split = {row: images.split_names[images.splits[row]] for row in group.rows}
        files = [(copy, row) for copy, rows in enumerate(group.copies) for row in rows]
        return {
            "exact": group.is_exact,
            "across_splits": group.is_across(images.splits),
            "label_conflict": group.is_across(images.labels),
            "files": [self._file(row) | {"split": split[row], "copy": copy} for copy, row in files],
        }

    def _label_issues(self, issues: LabelIssues) -> dict[str, Any]:
        most = max(issues.flagged, math.ceil(_LEAST_LISTED * len(issues.rows)))
        columns = (issues.rows, issues.proposed, issues.quality)
        ranked = list(zip(*(column[:most].tolist() for column in columns), strict=True))
        names = self.folders.class_names
        return {
            "flagged": issues.flagged,
            "judged": len(issues.rows),
            "not_judged": issues.not_judged,
            "accuracy": issues.accuracy,
            "ranked": [
                self._file(row) | {"proposed": names[code], "quality": quality, "flagged": at < issues.flagged}
                for at, (row, code, quality) in enumerate(ranked)
            ],
        }


def audit(root: Path, folders: ClassFolders, progress: Callable[[int], object] = lambda count: None) -> Audit:
    """Audits a folder of images by its files alone: each is read once.

    Args:
        root: The folder.
        folders: What `survey_class_folders` or `scan_class_folders` finds in it.
        progress: Called with the number of files read since the last call.
    """
    folders = replace(
        folders,
        class_names=[printable(name) for name in folders.class_names],
        warnings=[printable(text) for text in folders.warnings],
        faults=[printable(text) for text in folders.faults],
    )
    images = scan_images(folders.samples, progress)
    return Audit(root, folders, images, find_duplicates(images), find_drift(images, _own_folders(folders)))


def with_features(
    audited: Audit, features: NDArray[np.floating], features_of: str, by: Method = "own", seed: int = 0
) -> Audit:
    """The same audit with the labels judged, and with the contents of the splits compared.

    Args:
        audited: The audit by the files alone.
        features: Of its `readable_paths`, `(M, D)`.
        features_of: The net that they are of, in words.
        by: Whether labels are judged by our own code or by the library `cleanlab`.
        seed: Of the folds.

    Raises:
        ValueError: If the features are not of these files, or not finite.
        ConfigError: If the library is wanted and is not installed.
    """
    rows = np.flatnonzero(audited.images.readable)
    if len(features) != len(rows):
        raise ValueError(f"features of {len(features)} images; expected them of the {len(rows)} that can be read.")
    labels = audited.images.labels[rows]
    pictures = _pictures(audited)[rows]
    issues = find_label_issues(rows, labels, out_of_fold(features, labels, pictures, seed), by)
    drifts = find_drift(audited.images, _own_folders(audited.folders), features)
    return replace(audited, label_issues=issues, drifts=drifts, features_of=features_of)


def _own_folders(folders: ClassFolders) -> list[str]:
    """The splits that were not drawn by a seed, and so may differ from training."""
    return [split for split in folders.samples if split != "train" and split not in folders.by_seed]


def _pictures(audited: Audit) -> NDArray[np.int64]:
    """The number of the picture in each file, `(N,)`: the same for copies."""
    pictures = np.arange(len(audited.images.paths))
    for group in audited.duplicates.groups:
        pictures[list(group.rows)] = group.rows[0]
    return pictures

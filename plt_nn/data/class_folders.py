"""Find the classes, splits and image files of a folder by their names; no image is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from plt_nn.data.splits import check_fractions, hold_out, size_faults
from plt_nn.errors import DataError, did_you_mean, refuse
from plt_nn.text import counted, quoted

Sample = tuple[Path, int]

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class ClassFolders:
    """The labelled image files of a folder.

    Attributes:
        class_names: The names of the training folders, sorted.
        samples: Split name -> pairs of path and class code.
        warnings: Sentences about what is unusual, but can be trained on.
        by_seed: The splits without a folder of their own, which were taken out of the training images.
        faults: Sentences about what makes training impossible.
    """

    class_names: list[str]
    samples: dict[str, list[Sample]]
    warnings: list[str]
    by_seed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def scan_class_folders(root: Path, val_fraction: float, test_fraction: float, split_seed: int) -> ClassFolders:
    """Survey a folder that must be fit for training; the arguments are those of `survey_class_folders`.

    Raises:
        DataError: The folder cannot be trained on; the text lists all faults.
        ConfigError: A fraction is out of range.
    """
    found = survey_class_folders(root, val_fraction, test_fraction, split_seed)
    refuse(f"The image folder {root}", found.faults, DataError)
    return found


def survey_class_folders(root: Path, val_fraction: float, test_fraction: float, split_seed: int) -> ClassFolders:
    """Read a folder that holds one folder of images per class, or such folders in `train/`, `val/` and `test/`.

    A split without a folder of its own is taken out of the training images, stratified by class; classes that are too
    small for that stay in training.

    Args:
        root: The folder.
        val_fraction: Share of each class for validation, if there is no folder `val`, `valid` or `validation`.
        test_fraction: Share of each class for testing, if there is no folder `test`.
        split_seed: Seed of the split.

    Raises:
        DataError: There is no such folder.
        ConfigError: A fraction is out of range.
    """
    check_fractions({"val": val_fraction, "test": test_fraction})
    if not root.is_dir():
        raise DataError(_not_a_folder(root))
    folders = _split_folders(root)
    names = [folder.name for folder in subfolders(folders["train"])]
    codes = {name: code for code, name in enumerate(names)}
    samples = {split: labelled_images(folder, codes) for split, folder in folders.items()}
    labels = torch.tensor([code for _, code in samples["train"]], dtype=torch.int64)
    fractions = {"val": val_fraction, "test": test_fraction}
    fractions = {split: fraction for split, fraction in fractions.items() if split not in folders}
    faults = _layout_faults(root, folders) + _class_faults(folders, names, labels)
    chosen = hold_out(labels, fractions, split_seed)
    taken = {split: [samples["train"][index] for index in indices.tolist()] for split, indices in chosen.items()}
    return ClassFolders(
        names,
        samples | taken,
        _warnings(root, folders, names, samples),
        by_seed=[split for split in chosen if split != "train"],
        faults=faults + size_faults(names, labels, fractions),
    )


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without those of systems and tools (`.git`, `__MACOSX`)."""
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__")))


def labelled_images(folder: Path, codes: Mapping[str, int]) -> list[Sample]:
    """The image files of some classes.

    Args:
        folder: The folder that holds a folder for each class.
        codes: Class name -> class code.
    """
    found = make_dataset(folder, dict(codes), is_valid_file=_is_image, allow_empty=True) if codes else []
    return [(Path(path), code) for path, code in found]


def _not_a_folder(root: Path) -> str:
    if root.exists():
        return f"{root} is a file; expected a folder that holds one folder of images per class."
    missing = root.absolute()
    while not missing.parent.exists():
        missing = missing.parent
    hint = did_you_mean(missing.name, [folder.name for folder in subfolders(missing.parent)])
    return f"There is no folder {root}: {missing.parent} holds no {missing.name!r}.{hint}"


def _split_folders(root: Path) -> dict[str, Path]:
    """Split name -> its folder; `{"train": root}` if the classes lie in the root (one may be called `train`)."""
    inside = {folder.name.lower(): folder for folder in subfolders(root)}
    has_splits = subfolders(inside["train"]) if "train" in inside else False
    if not has_splits and not (inside and inside.keys() <= SPLIT_NAMES.keys()):
        return {"train": root}
    found = {split: inside[name] for name, split in reversed(SPLIT_NAMES.items()) if name in inside}
    return {"train": root / "train"} | found


def _is_image(path: str) -> bool:
    return path.lower().endswith(IMG_EXTENSIONS) and not Path(path).name.startswith(".")


def _layout_faults(root: Path, folders: Mapping[str, Path]) -> list[str]:
    faults = []
    for folder in dict.fromkeys([root, *folders.values()]):
        loose = sorted(entry.name for entry in folder.glob("*") if entry.is_file() and _is_image(entry.name))
        if loose:
            faults.append(
                f"{folder} has {counted(len(loose), 'image')} outside any class: {quoted(loose)}."
                " Move each into the folder of its class."
            )
    if not folders["train"].is_dir():
        others = quoted([folder.name for split, folder in folders.items() if split != "train"])
        faults.append(f"there is {others} but no 'train' to go with it. Add {folders['train']}.")
    elif not subfolders(folders["train"]):
        faults.append(f"{folders['train']} has no class folders. Make one folder of images per class in it.")
    return faults


def _class_faults(folders: Mapping[str, Path], names: Sequence[str], labels: torch.Tensor) -> list[str]:
    faults = []
    if len(names) == 1:
        faults.append(f"there is only one class, {names[0]!r}. Training needs at least two.")
    empty = [names[code] for code, size in enumerate(labels.bincount(minlength=len(names)).tolist()) if size == 0]
    if empty:
        faults.append(
            f"no image in {folders['train']} for the class(es) {quoted(empty)}."
            f" Add images ({', '.join(IMG_EXTENSIONS)}) or remove the folder(s)."
        )
    for split, folder in folders.items():
        unknown = [found.name for found in subfolders(folder) if found.name not in names and split != "train"]
        faults += [
            f"{folder} has a class {name!r} that {folders['train']} lacks.{did_you_mean(name, names)}"
            for name in unknown
        ]
    return faults


def _warnings(
    root: Path, folders: Mapping[str, Path], names: Sequence[str], samples: Mapping[str, Sequence[Sample]]
) -> list[str]:
    warnings = []
    for split, folder in folders.items():
        present = {code for _, code in samples[split]}
        absent = [name for code, name in enumerate(names) if code not in present]
        if absent and split != "train":  # that is a fault
            warnings.append(f"{folder} has no image of the class(es) {quoted(absent)}, which are trained on.")
    unused = [folder.name for folder in subfolders(root) if folder not in folders.values()]
    if unused and folders["train"] != root:
        warnings.append(f"{root} has folders that are not used: {quoted(unused)}. Used are train, val and test.")
    return warnings

from collections.abc import Callable
from pathlib import Path

import pytest

from plt_nn.data.class_folders import ClassFolders, scan_class_folders, survey_class_folders
from plt_nn.errors import ConfigError, DataError

Folder = Callable[..., Path]


def scan(root: Path, val: float = 0.25, test: float = 0.0, seed: int = 0) -> ClassFolders:
    return scan_class_folders(root, val, test, seed)


def sizes(found: ClassFolders) -> dict[str, int]:
    return {split: len(samples) for split, samples in found.samples.items()}


def test_classes_in_the_root_are_split_by_seed_and_class(tmp_path: Path, class_folder: Folder) -> None:
    found = scan(class_folder(tmp_path, wolf=8, ant=4), test=0.25)
    assert found.class_names == ["ant", "wolf"]
    assert sizes(found) == {"train": 6, "val": 3, "test": 3}
    assert [code for _, code in found.samples["val"]] == [0, 1, 1]
    assert all(path.parent.name == found.class_names[code] for path, code in found.samples["train"])
    assert len({path for samples in found.samples.values() for path, _ in samples}) == 12
    assert scan(tmp_path, seed=1).samples["val"] != scan(tmp_path, seed=2).samples["val"]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_a_folder_for_each_split(name: str, tmp_path: Path, class_folder: Folder) -> None:
    class_folder(tmp_path / "train", ant=2, bee=3)
    class_folder(tmp_path / name, ant=1, bee=1)
    class_folder(tmp_path / "test", ant=1, bee=2)
    found = scan(tmp_path, test=0.9 * 0.5)
    assert sizes(found) == {"train": 5, "val": 2, "test": 3}
    assert found.warnings == []


def test_validation_comes_out_of_train_where_it_has_no_folder(tmp_path: Path, class_folder: Folder) -> None:
    class_folder(tmp_path / "train", ant=4, bee=4)
    class_folder(tmp_path / "test", ant=1, bee=1)
    assert sizes(scan(tmp_path)) == {"train": 6, "test": 2, "val": 2}


def test_a_class_may_be_called_train(tmp_path: Path, class_folder: Folder) -> None:
    assert scan(class_folder(tmp_path, bus=4, train=4)).class_names == ["bus", "train"]


def test_nested_files_count_and_hidden_ones_do_not(tmp_path: Path, class_folder: Folder, picture: Folder) -> None:
    class_folder(tmp_path, ant=3, bee=3)
    picture(tmp_path / "ant" / "more" / "deep.JPG")
    for stray in ("ant/._00.png", ".ipynb_checkpoints/a.png", "__MACOSX/ant/a.png"):
        picture(tmp_path / stray)
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    found = scan(tmp_path, val=0.0)
    assert found.class_names == ["ant", "bee"]
    assert sizes(found) == {"train": 7}


def test_a_missing_folder_suggests_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"There is no folder .*/fotos: .* holds no 'fotos'\. Did you mean 'photos'\?"):
        scan(tmp_path / "fotos")
    with pytest.raises(DataError, match=r"holds no 'fotos'\. Did you mean 'photos'\?"):
        scan(tmp_path / "fotos" / "animals")


def test_a_file_is_no_folder(tmp_path: Path, picture: Folder) -> None:
    with pytest.raises(DataError, match="is a file; expected a folder that holds one folder of images per class"):
        scan(picture(tmp_path / "a.png"))


def test_loose_images_and_no_classes(tmp_path: Path, picture: Folder) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="has no class folders") as caught:
        scan(tmp_path)
    assert "has 1 image outside any class: 'a.png'. Move each into the folder of its class." in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path: Path, class_folder: Folder, picture: Folder) -> None:
    class_folder(tmp_path / "train", ant=3, bee=0)
    class_folder(tmp_path / "val", ant=1, bees=1)
    picture(tmp_path / "train" / "loose.jpg")
    with pytest.raises(DataError) as caught:
        scan(tmp_path)
    first, *faults = str(caught.value).splitlines()
    assert first == f"The image folder {tmp_path} cannot be used:"
    assert len(faults) == 3
    assert "outside any class: 'loose.jpg'" in faults[0]
    assert "no image in" in faults[1]
    assert "for the class(es) 'bee'" in faults[1]
    assert "has a class 'bees' that" in faults[2]
    assert "Did you mean 'bee'?" in faults[2]


def test_one_class_is_not_enough(tmp_path: Path, class_folder: Folder) -> None:
    with pytest.raises(DataError, match="there is only one class, 'ant'"):
        scan(class_folder(tmp_path, ant=5))


def test_a_class_too_small_to_split_is_named(tmp_path: Path, class_folder: Folder) -> None:
    with pytest.raises(DataError, match=r"too few samples of the class\(es\) 'bee' \(1 of 'bee'\)"):
        scan(class_folder(tmp_path, ant=5, bee=1))


def test_splits_without_training_are_no_classes(tmp_path: Path, class_folder: Folder) -> None:
    class_folder(tmp_path / "val", ant=2, bee=2)
    with pytest.raises(DataError, match="there is 'val' but no 'train' to go with it"):
        scan(tmp_path)


def test_what_is_only_unusual_is_a_warning(tmp_path: Path, class_folder: Folder) -> None:
    class_folder(tmp_path / "train", ant=2, bee=2)
    class_folder(tmp_path / "val", ant=2)
    class_folder(tmp_path / "old", ant=2)
    absent, unused = scan(tmp_path).warnings
    assert absent == f"{tmp_path / 'val'} has no image of the class(es) 'bee', which are trained on."
    assert "folders that are not used: 'old'" in unused


def test_impossible_fractions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="val_fraction"):
        scan(tmp_path, val=1.5)


def test_a_survey_tells_what_a_scan_refuses(tmp_path: Path, class_folder: Folder) -> None:
    class_folder(tmp_path, ant=8, bee=1, wasp=0)
    found = survey_class_folders(tmp_path, 0.25, 0.0, 0)
    assert [fault.partition(" ")[0] for fault in found.faults] == ["no", "too"]
    assert sizes(found) == {"train": 7, "val": 2}
    assert (tmp_path / "bee" / "00.png", 1) in found.samples["train"], "too small a class is not held out"
    assert found.by_seed == ["val"]
    with pytest.raises(DataError, match="no image in"):
        scan(tmp_path)


def test_a_survey_of_a_folder_without_images(tmp_path: Path) -> None:
    found = survey_class_folders(tmp_path, 0.25, 0.0, 0)
    assert found.samples == {"train": []}
    assert "has no class folders" in found.faults[0]


def test_a_survey_of_a_sound_folder_is_its_scan(tmp_path: Path, class_folder: Folder) -> None:
    class_folder(tmp_path, ant=8, bee=9)
    assert survey_class_folders(tmp_path, 0.25, 0.0, 3) == scan(tmp_path, seed=3)

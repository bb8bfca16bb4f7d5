"""A folder of images, one folder per class."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn

from plt_nn.backbones import Preprocessing, inner_preprocessing
from plt_nn.data.class_folders import ClassFolders, Sample, scan_class_folders
from plt_nn.data.decoded_splits import DecodedSplits
from plt_nn.data.fingerprints import SplitContent, SplitFingerprint, fingerprints_of
from plt_nn.data.hashes import as_array
from plt_nn.data.image_batches import ImageBatches, image_loader
from plt_nn.data.image_check import check_images, file_hashes
from plt_nn.data.image_files import ImageFiles
from plt_nn.data.sampling import run_seed, sampler_for
from plt_nn.data.workers import default_num_workers
from plt_nn.errors import DataError, refuse
from plt_nn.features.feature_folder import features_root
from plt_nn.inference.inputs import ImageInputs
from plt_nn.text import quoted

STAGE_SPLITS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
MANY_IMAGES = 5_000  # the check of more images takes so long that it is announced


class ImageFolderData(LightningDataModule):
    """Images in one folder per class, prepared as the backbone's weights expect.

    `root` holds the class folders, and validation (and test) images are split off by seed and class; or it holds
    `train/`, `val/` (or `valid/`, `validation/`) and `test/`, each with the class folders. Classes are numbered in the
    order of their sorted names. All images that torchvision reads are accepted: grey, palette, RGBA, CMYK and 16-bit
    images become RGB, turned upright by their EXIF orientation.

    Before training each file is decoded once, so that damaged files are found at the start and not after an hour.

    Args:
        root: The folder.
        batch_size: Images per process and step; default 32.
        image_size: Side of the net's square input, in pixels; default that of `preprocessing`.
        crop_pct: Share of the shorter side that is cut out of the middle, above 0 and at most 1; default that of
            `preprocessing`. In images smaller than those of the pretraining, objects are smaller than the net expects;
            a smaller share corrects this (Touvron et al. 2019, https://arxiv.org/abs/1906.06423).
        augment: Transforms (torchvision v2) for the training images; default those of the preprocessing.
        val_fraction: Share of each class held out for validation, unless there is a folder for it; default 0.2.
        test_fraction: Share of each class held out for testing, unless there is a folder for it; default 0.
        on_bad_image: `skip` warns of files that cannot be read and leaves them out; `error` stops.
        preprocessing: Size, interpolation, crop and normalisation; default that of the module's backbone, or for other
            nets that of ImageNet at 224 pixels.
        num_workers: Processes that read images; default the processor cores per training process, 8 at most.
        split_seed: Seed of the split; default 0.
        keep_decoded: Where decoded images are cached, so that each file is decoded only in the first epoch: in `memory`
            (of each training process), or in `files` beside the run's features, which later runs and all processes of a
            machine share. They are cached before the first random step of their transform, so the net's inputs stay the
            same, bit for bit. Default: no cache.
        decoded_megabytes: Maximum size of a split's cache; images that do not fit are decoded each time. Default 4,000.
        resize_first: Shorter side in pixels to which larger training images are shrunk before `augment`. Cached images
            are then smaller, and faster to augment; the net's inputs change a little. Default: none.

    Raises:
        ConfigError: An argument cannot be used.
        DataError: At `setup`: the folder cannot be trained on; the text lists all faults.

    Example:
        `photos` is the path of a folder that holds `ants/` and `bees/`, with eight images in each.

        >>> from plt_nn import ImageFolderData
        >>> data = ImageFolderData(photos, batch_size=4, image_size=64, val_fraction=0.25, num_workers=0)
        >>> data.setup("fit")
        >>> data.class_names
        ['ants', 'bees']
        >>> data.class_counts
        {'train': [6, 6], 'val': [2, 2]}
        >>> next(iter(data.train_dataloader())).x.shape
        torch.Size([4, 3, 64, 64])
    """

    def __init__(
        self,
        root: str | Path,
        batch_size: int = 32,
        image_size: int | None = None,
        crop_pct: float | None = None,
        augment: list[nn.Module] | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        on_bad_image: Literal["skip", "error"] = "skip",
        preprocessing: Preprocessing | None = None,
        num_workers: int | None = None,
        split_seed: int = 0,
        keep_decoded: Literal["memory", "files"] | None = None,
        decoded_megabytes: int = 4_000,
        resize_first: int | None = None,
    ) -> None:
        super().__init__()
        self.root = Path(root).expanduser()
        self.name = self.root.absolute().name
        self.batch_size = batch_size
        self.image_size = image_size
        faults = []
        if crop_pct is not None and not 0 < crop_pct <= 1:
            faults.append(f"crop_pct is {crop_pct}; expected a share of the shorter side, above 0 and at most 1.")
        if resize_first is not None and resize_first < 1:
            faults.append(f"resize_first is {resize_first}; expected the shorter side in pixels, at least 1.")
        refuse("ImageFolderData", faults)
        self.crop_pct = crop_pct
        self.resize_first = resize_first
        self.augment = augment
        self.fractions = (val_fraction, test_fraction)
        self.on_bad_image = on_bad_image
        self.preprocessing = preprocessing
        self.num_workers = num_workers
        self.split_seed = split_seed
        self.check_images = True  # whether `setup` opens each image; not needed for the classes alone
        self.samples: dict[str, list[Sample]] = {}
        self.bad_images = 0
        self._folders: ClassFolders | None = None
        self._decoded = DecodedSplits(keep_decoded, decoded_megabytes)
        self._hashes: dict[Path, bytes] = {}  # of the files that this process has checked

    def setup(self, stage: str | None = None) -> None:
        """Find and check the images that the stage needs: `fit`, `validate`, `test` or `predict`; None: all."""
        if self._folders is None:
            self._folders = scan_class_folders(self.root, *self.fractions, self.split_seed)
            for warning in self._folders.warnings:
                rank_zero_warn(warning)
        of_net = inner_preprocessing(getattr(self.trainer, "lightning_module", None))
        preprocessing = self.preprocessing or of_net or Preprocessing()
        sized = preprocessing.with_size(self.image_size) if self.image_size else preprocessing
        self.preprocessing_used = replace(sized, crop_pct=self.crop_pct) if self.crop_pct else sized
        found = self._folders.samples
        wanted = (self._predict_split(),) if stage == "predict" else STAGE_SPLITS.get(stage or "", tuple(found))
        unchecked = {split: found[split] for split in wanted if split in found and split not in self.samples}
        if unchecked:
            self.samples |= self._readable(unchecked) if self.check_images else unchecked

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of their codes."""
        return self._scanned.class_names

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def class_counts(self) -> dict[str, list[int]]:
        """Split name -> number of readable images of each class, for the splits set up so far."""
        return {
            split: torch.bincount(_labels(samples), minlength=self.num_classes).tolist()
            for split, samples in self.samples.items()
        }

    @property
    def paths(self) -> dict[str, list[Path]]:
        """Split name -> the file of each sample index, for the splits set up so far."""
        return {split: [path for path, _ in samples] for split, samples in self.samples.items()}

    @property
    def predict_paths(self) -> list[Path]:
        """The file of each sample index in the predictions."""
        return self.paths[self._predict_split()]

    def describe(self) -> dict[str, str | int | float]:
        """Plain facts for the record of a run."""
        size = self.preprocessing_used.size
        facts: dict[str, str | int | float] = {
            "root": str(self.root),
            "classes": self.num_classes,
            "image_size": size if isinstance(size, int) else "x".join(map(str, size)),
            "bad_images": self.bad_images,
        }
        return facts | {f"{split}_samples": len(samples) for split, samples in self.samples.items()}

    def fingerprints(self) -> dict[str, SplitFingerprint]:
        """The content of each split, by the bytes of its files; files of splits that are not set up are read here.

        Of several processes, only one needs to call it.
        """
        splits = self._scanned.samples | self.samples
        paths = [path for samples in splits.values() for path, _ in samples]
        self._hashes |= file_hashes([path for path in paths if path not in self._hashes])
        contents = {name: self._content(samples) for name, samples in splits.items()}
        return fingerprints_of(contents, self.class_names, str(self.root.absolute()))

    def model_inputs(self) -> ImageInputs:
        """The inputs of a net that is trained on these images."""
        return ImageInputs(self.preprocessing_used)

    def train_dataloader(self) -> ImageBatches:
        """Shuffled and augmented training images."""
        return self._loader("train")

    def val_dataloader(self) -> ImageBatches | list[ImageBatches]:
        """Validation images in order; an empty list if nothing is held out."""
        return self._loader("val") if "val" in self.samples else []

    def test_dataloader(self) -> ImageBatches:
        """Test images in order."""
        return self._loader("test")

    def predict_dataloader(self) -> ImageBatches:
        """The test images in order; without a test split, the validation images."""
        return self._loader(self._predict_split())

    @property
    def _scanned(self) -> ClassFolders:
        if self._folders is None:
            raise DataError("The image folder has not been read yet: call setup() first.")
        return self._folders

    def _content(self, samples: list[Sample]) -> SplitContent:
        found = [(path, code) for path, code in samples if path in self._hashes]
        return SplitContent(
            as_array([self._hashes[path] for path, _ in found]),
            _labels(found).numpy(),
            lambda at: str(found[at][0].relative_to(self.root)),
        )

    def _predict_split(self) -> str:
        return "test" if "test" in self._scanned.samples else "val"

    def _loader(self, split: str) -> ImageBatches:
        if split not in self.samples:
            raise DataError(
                f"{self.root} has no {split} images: add a folder {split}/ or set {split}_fraction above 0."
            )
        training, preprocessing = split == "train", self.preprocessing_used
        transform = (
            preprocessing.training_transform(self.augment, self.resize_first)
            if training
            else preprocessing.evaluation_transform()
        )
        paths = self.paths[split]
        folder = features_root(self.trainer.loggers if self.trainer else ())
        decoded = self._decoded.images(split, paths, transform, folder)
        files = ImageFiles(paths, _labels(self.samples[split]), transform, run_seed(), decoded)
        workers = default_num_workers(self.trainer) if self.num_workers is None else self.num_workers
        return image_loader(files, sampler_for(self.trainer, len(files), self.batch_size, training), workers)

    def _readable(self, samples: dict[str, list[Sample]]) -> dict[str, list[Sample]]:
        """The samples without those whose files cannot be read; the same on all ranks."""
        paths = [path for split in samples.values() for path, _ in split]
        if len(paths) > MANY_IMAGES:
            rank_zero_info(f"Checking that the {len(paths)} images in {self.root} can be read ...")
        bad: dict[Path, str] = {}
        if self.trainer is None or self.trainer.is_global_zero:
            bad, hashes = check_images(paths)
            self._hashes |= hashes
        if self.trainer is not None:
            bad = self.trainer.strategy.broadcast(bad)
        if self.on_bad_image == "error":
            refuse(f"{len(bad)} of {len(paths)} images in {self.root}", bad.values(), DataError)
        if bad:
            listed = "".join(f"\n  - {reason}" for reason in bad.values())
            rank_zero_warn(f"{len(bad)} of {len(paths)} images in {self.root} cannot be read and are left out:{listed}")
        self.bad_images += len(bad)
        readable = {name: [sample for sample in split if sample[0] not in bad] for name, split in samples.items()}
        refuse(f"The image folder {self.root}", _emptied(readable, self.class_names), DataError)
        return readable


def _labels(samples: list[Sample]) -> torch.Tensor:
    return torch.tensor([code for _, code in samples], dtype=torch.int64)


def _emptied(samples: dict[str, list[Sample]], class_names: list[str]) -> list[str]:
    """Faults of splits and classes of which no image is readable."""
    faults = [f"none of its {split} images can be read." for split, readable in samples.items() if not readable]
    if "train" in samples:
        present = {code for _, code in samples["train"]}
        absent = [name for code, name in enumerate(class_names) if code not in present]
        if absent:
            faults.append(f"no training image of the class(es) {quoted(absent)} can be read.")
    return faults

"""The cache of a split's decoded images, so that a file is decoded once and not in every epoch."""

import hashlib
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import PIL
import torchvision
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from plt_nn.backbones.image_transform import ImageTransform
from plt_nn.errors import ConfigError
from plt_nn.features.cache_location import NoRoom, room_for
from plt_nn.features.decoded_images import DecodedImages
from plt_nn.features.feature_folder import MORE_BYTES, create, open_entry
from plt_nn.fingerprint.identity import files_identity, object_identity
from plt_nn.inference.images import read_image
from plt_nn.text import byte_size

_MOST_ON_DISK = 20_000_000_000  # as `FrozenFeatureCache` has it
_MEASURED = 8  # images whose sizes estimate those of all


class DecodedSplits:
    """The caches of decoded images of all splits.

    Args:
        where: `memory`, or `files` that outlive the run and that the processes of a machine share; None: no cache.
        megabytes: Maximum size of a split's cache.

    Raises:
        ConfigError: An argument cannot be used.
    """

    def __init__(self, where: Literal["memory", "files"] | None, megabytes: int) -> None:
        if where not in (None, "memory", "files") or megabytes < 1:
            found = f"keep_decoded is {where!r} with decoded_megabytes {megabytes}"
            raise ConfigError(f"{found}; expected 'memory', 'files' or none, with at least 1.")
        self._where, self._most = where, megabytes * 1_000_000
        self._caches: dict[tuple[object, ...], DecodedImages] = {}

    def __getstate__(self) -> dict[str, Any]:
        """The state without open caches: a copy, in this process or another, opens its own."""
        return vars(self) | {"_caches": {}}

    def images(
        self, split: str, paths: Sequence[Path], transform: ImageTransform, folder: Path
    ) -> DecodedImages | None:
        """The cache of a split, which is announced in a sentence; None if there is no cache.

        Args:
            split: The name of the split.
            paths: The image files.
            transform: The transform, whose first steps are applied before the images are cached.
            folder: The folder of cached files.
        """
        if self._where is None:
            return None
        place = (split, *paths, object_identity(transform.lead), folder)
        if place not in self._caches:
            expected = expected_bytes(paths, transform)
            most = min(self._most, expected + expected // 4)  # the estimate from a few images is rough
            try:
                self._caches[place] = self._open(split, paths, transform, folder, most)
            except (OSError, NoRoom) as error:
                rank_zero_warn(f"Decoded {split} images are not cached: {error}.")
                return None
            self._say(split, len(paths), expected, folder)
        return self._caches[place]

    def _open(
        self, split: str, paths: Sequence[Path], transform: ImageTransform, folder: Path, most: int
    ) -> DecodedImages:
        if self._where == "memory":
            return DecodedImages(len(paths), most)
        versions = f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}"
        facts = f"decoded images {files_identity(paths)} {object_identity(transform.lead)} {versions} {most}"
        key = hashlib.sha256(facts.encode()).hexdigest()
        steps = ", ".join(type(step).__name__ for step in transform.lead)
        about = {"net": "decoded images", "samples": split, "up to": steps}
        with room_for(folder, key, most, _MOST_ON_DISK):
            entry = open_entry(create(folder, key, len(paths), (), {MORE_BYTES: most}, about), 0)
        images = DecodedImages(len(paths), most, folder / key)
        weakref.finalize(images, entry.close)  # until then they are not deleted to make room
        return images

    def _say(self, split: str, count: int, expected: int, folder: Path) -> None:
        where = "memory" if self._where == "memory" else str(folder)
        rank_zero_info(f"Decoded {split} images are cached in {where}: {count:,}, about {byte_size(expected)}.")
        if expected > self._most:
            rank_zero_warn(
                f"They exceed the limit of {byte_size(self._most)} (decoded_megabytes), so some are decoded each time."
                " A resize_first makes training images smaller."
            )


def expected_bytes(paths: Sequence[Path], transform: ImageTransform) -> int:
    """The approximate size in bytes of the decoded images of some files, after the first steps of a transform."""
    chosen = [paths[at * len(paths) // _MEASURED] for at in range(min(_MEASURED, len(paths)))]
    sizes: list[tuple[int, int]] = [transform.led(read_image(path)).size for path in chosen]
    return sum(3 * width * height for width, height in sizes) * len(paths) // max(len(chosen), 1)

"""The images as nets see them; each is decoded once for all transforms that begin with the same steps."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from plt_nn.backbones.image_transform import ImageTransform
from plt_nn.data.decoded_splits import expected_bytes
from plt_nn.data.image_check import usable_cores
from plt_nn.data.image_files import led_image
from plt_nn.features.decoded_images import DecodedImages
from plt_nn.fingerprint.identity import object_identity


class Images:
    """Image files, read by threads while the net works on the batch before.

    Args:
        paths: The files.
        megabytes: Memory for decoded images; images that do not fit are decoded each time.
    """

    def __init__(self, paths: Sequence[Path], megabytes: int = 1_000) -> None:
        self.paths = list(paths)
        self._bytes_left = megabytes * 1_000_000
        self._decoded: dict[str, DecodedImages] = {}

    def batches(self, rows: Sequence[Tensor], transform: ImageTransform) -> Iterator[Tensor]:
        """Batches of transformed images, `(N, C, H, W)` each.

        Args:
            rows: The numbers of the images of each batch.
            transform: The transform, in which nothing is random.
        """
        decoded, ahead = self._decoded_images(transform), list[Future[Image.Image]]()
        # Pillow works without holding Python's lock. Torch works in this thread only: in several, its own threads would
        # compete.
        with ThreadPoolExecutor(usable_cores()) as pool:
            for part in [*(part.tolist() for part in rows), []]:
                now, ahead = ahead, [pool.submit(led_image, self.paths[n], n, transform, decoded) for n in part]
                if now:
                    yield torch.stack([transform.rest(image.result()) for image in now])

    def _decoded_images(self, transform: ImageTransform) -> DecodedImages | None:
        """The cache of the images after the first steps of a transform; None if they do not fit."""
        key = object_identity(transform.lead)
        if key is None:
            return None
        if key not in self._decoded:
            needed = expected_bytes(self.paths, transform) * 5 // 4
            if needed > self._bytes_left:
                return None
            self._bytes_left -= needed
            self._decoded[key] = DecodedImages(len(self.paths), needed)
        return self._decoded[key]

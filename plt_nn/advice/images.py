"""Images as candidates see them: decoded once for all that begin with the same steps."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from plt_nn.backbones.image_transform import ImageTransform
from plt_nn.data.decoded_images import expected_bytes
from plt_nn.data.image_check import usable_cores
from plt_nn.data.image_files import led_image
from plt_nn.features.decoded import DecodedImages
from plt_nn.fingerprint.identity import object_identity


class Images:
    """Some image files, read in threads ahead of what is computed of them.

    Args:
        paths: The files.
        megabytes: How much the decoded images may take in memory; what does not fit is decoded each time.
    """

    def __init__(self, paths: Sequence[Path], megabytes: int = 1_000) -> None:
        self.paths = list(paths)
        self._left = megabytes * 1_000_000
        self._decoded: dict[str, DecodedImages] = {}

    def batches(self, rows: Sequence[Tensor], transform: ImageTransform) -> Iterator[Tensor]:
        """Batches of transformed images, `(N, C, H, W)` each.

        Args:
            rows: The numbers of the images of each batch.
            transform: What is done with them; nothing in it is random.
        """
        decoded = self._place(transform)

        def one(number: int) -> Image.Image:
            return led_image(self.paths[number], number, transform, decoded)

        # Pillow works without holding Python's lock. What torch does it does in this thread: in several it would start
        # threads of its own for each, which stand in each other's way.
        with ThreadPoolExecutor(usable_cores()) as pool:
            ahead = [pool.submit(one, number) for number in rows[0].tolist()] if len(rows) else []
            for at in range(len(rows)):
                now = ahead
                ahead = [pool.submit(one, n) for n in rows[at + 1].tolist()] if at + 1 < len(rows) else []
                yield torch.stack([transform.rest(image.result()) for image in now])

    def _place(self, transform: ImageTransform) -> DecodedImages | None:
        """Where the images are kept as the first steps of a transform leave them; None if there is no room."""
        key = object_identity(transform.lead)
        if key is None:
            return None
        if key not in self._decoded:
            needed = expected_bytes(self.paths, transform) * 5 // 4
            if needed > self._left:
                return None
            self._left -= needed
            self._decoded[key] = DecodedImages(len(self.paths), needed)
        return self._decoded[key]

"""One plane of a result, exactly as the whole result will have it; the rest is not restored."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..image.image import Image, check_kind
from ..image.tiles import Region
from ..restoration.api import plan_work, prepare
from ..restoration.model import Restorer
from ..restoration.tasks import Options, output_pixel_size

_FIELD = {"YX": 1024, "ZYX": 128}  # pixels; longest side that is restored, by the task's axes


class Preview:
    """The result of one image with one set of options, restored where it is looked at.

    Intensity maps are those of the whole image, measured once.

    Parameters
    ----------
    image
        Its pixels may be lazy.
    restorer
        The open model.
    options
        What a user chose of the result.
    memory
        Bytes that the work may take; half of what is free where not given.

    Raises
    ------
    ValueError
        Options that do not fit the image or the model.
    """

    def __init__(
        self, image: Image, restorer: Restorer, options: Options, memory: int | None = None
    ) -> None:
        check_kind(image.array.dtype, image.array.shape, str(image.source or "image"))
        sizes = output_pixel_size(image, options)
        self.spacing = {a: sizes[a] / size for a, size in image.pixel_size.items()}
        prepared, chosen = prepare(image, options)
        self._work, _ = plan_work(prepared, restorer, chosen, memory)
        self.task = self._work.task

    def region(self, index: Mapping[str, int]) -> Region:
        """Return the field of one plane of the output that is around a place of the input.

        It is the whole plane up to 1024 pixels a side; of the axial task, which takes longer, 128.

        Parameters
        ----------
        index
            Place in the input by axis letter; the first where not given.
        """
        return tuple(
            self._span(letter, length, index)
            for letter, length in zip(self.task.axes, self.task.shape, strict=True)
        )

    def _span(self, letter: str, length: int, index: Mapping[str, int]) -> slice:
        size = _FIELD[self.task.tiled] if letter in "YX" else 1
        place = round(index.get(letter, 0) / self.spacing.get(letter, 1.0))
        start = max(0, min(place - size // 2, length - size))
        return slice(start, min(start + size, length))

    def restore(self, region: Region, report: Callable[[int], None] | None = None) -> np.ndarray:
        """Return a region of the output; what `report` raises after a window ends the work."""
        return self._work.compute(self._work.read(region), region, report)

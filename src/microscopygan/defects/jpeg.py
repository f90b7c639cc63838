"""Images saved as JPEG: eight bits, and blocks of 8 × 8 pixels that lose their detail."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from microscopygan.defects.base import Defect, Place, Plane, Range, Symmetry, as_plane
from microscopygan.defects.statistics import SPECTRA, Feature, Floats, Medians, Trace, evenly

BLOCK = 8  # pixels


def _blockiness(crop: Plane) -> Floats:
    """Log mean curvature across lines BLOCK apart, highest first: the borders of blocks stand out.

    Down, then right.
    """
    found = []
    for lines in (crop, crop.T):
        bend = np.abs(np.diff(lines, axis=0)).mean(axis=1)
        bend = bend[: bend.size // BLOCK * BLOCK].reshape(-1, BLOCK)
        phases = np.sort(np.log(np.median(bend, axis=0) + 1e-4))[::-1]
        found.append(phases - phases.mean())
    return np.concatenate(found)


def _flatness(crop: Plane) -> Floats:
    """Log shares of pixels that equal the one beside them, and that lie on a line with two."""
    first, second = np.abs(np.diff(crop, axis=1)), np.abs(np.diff(crop, n=2, axis=1))
    quantum = 1 / 255
    return np.log(np.array([np.mean(first < quantum), np.mean(second < quantum)]) + 0.01)


class Jpeg(Defect):
    """Compression as JPEG, grey, of an image stretched to eight bits."""

    name: ClassVar[str] = "jpeg"
    place: ClassVar[Place] = Place.DIGITAL
    symmetry: ClassVar[Symmetry] = Symmetry.ALL
    trace: ClassVar[Trace | None] = Medians(
        (
            SPECTRA,
            Feature(_blockiness, evenly(2 * BLOCK, 4.0)),
            Feature(_flatness, evenly(2, 1.0)),
        ),
        crops=24,
    )
    ranges: ClassVar[dict[str, Range]] = {"quality": Range(5, 95, "integer")}
    quality: int = Field(ge=1, le=100, description="quality of the compression, 1 to 100")

    def apply(self, plane: NDArray[np.generic], rng: np.random.Generator) -> Plane:
        """Stretch the plane to 0 to 255, compress it, and undo both."""
        import imagecodecs

        array = as_plane(plane)
        low, high = float(array.min()), float(array.max())
        scale = 255 / max(high - low, 1e-9)
        bytes_ = np.ascontiguousarray(np.rint((array - low) * scale), np.uint8)
        saved = imagecodecs.jpeg8_encode(bytes_, level=self.quality)
        return np.asarray(imagecodecs.jpeg8_decode(saved) / scale + low, np.float32)

    def describe(self) -> str:
        """Say the quality: see :meth:`Defect.describe`.

        Examples
        --------
        >>> Jpeg(quality=30).describe()
        'JPEG: compressed at about quality 30 of 100'
        """
        return f"JPEG: compressed at about quality {self.quality} of 100"

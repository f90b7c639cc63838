"""Pixels of published sets: CSBDeep's files of patches, W2S's exposures and enlarged planes."""

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..image.axes import AXES
from ..image.formats import Image, Lazy, open_image, read
from ..image.formats.npz import NpzArray, arrays_in

_CUSTOMARY = {4: "SCYX", 5: "SCZYX"}  # as CSBDeep writes patches, where the axes are not stored
_LONGEST = 1000  # bytes of the letters of axes
_EXPOSURE = 249  # which of W2S's 400 is avg1


@dataclass(frozen=True)
class Patches:
    """Pairs of patches; their pixels stay on disk until they are read.

    Attributes
    ----------
    path
        The file.
    inputs, targets
        Low and high quality, of one shape and any real dtype.
    axes
        One letter of ``STCZYX`` for each dimension; S counts the pairs.
    """

    path: Path
    inputs: Lazy
    targets: Lazy
    axes: str

    def __len__(self) -> int:
        """Count the pairs."""
        return int(self.inputs.shape[self.axes.index("S")])

    @property
    def pixels(self) -> int:
        """Pixels of one patch."""
        return math.prod(self.inputs.shape) // len(self)

    def read(self, index: int) -> tuple[Image, Image]:
        """Read one pair, input and target, with the axes other than S."""
        place = (slice(None),) * self.axes.index("S") + (index,)
        axes, source = self.axes.replace("S", ""), f"{self.path}#{index}"
        one, other = (np.array(array[place]) for array in (self.inputs, self.targets))
        return Image(one, axes, source=source), Image(other, axes, source=source)


def open_patches(path: Path) -> Patches:
    """Open a file of CSBDeep's ``save_training_data``.

    Parameters
    ----------
    path
        ``.npz`` with X (input), Y (target) and axes, a text such as SCYX. Without axes, four
        dimensions are taken as SCYX and five as SCZYX. A compressed file is read as a whole.

    Raises
    ------
    ValueError
        Damaged, with Python objects (never loaded), other arrays, axes without S, or X and Y of
        different shape. One line that names the file.
    """
    try:
        members = arrays_in(path)
        arrays = [_pixels(members[key]) for key in "XY" if key in members]
        stored = _stored_axes(members["axes"]) if "axes" in members else None
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        LookupError,
        OSError,
        RuntimeError,
    ) as error:
        raise ValueError(
            f"{path}: expected patches X, Y and axes, got a damaged file or one of another kind "
            f"({' '.join(str(error).split())}); copy it or save it again"
        ) from None
    if len(arrays) < 2:
        stored = ", ".join(sorted(members)[:4]) or "nothing"
        raise ValueError(
            f"{path}: expected patches X, Y and axes, got {stored}; save it with CSBDeep's "
            "save_training_data, or move it away"
        )
    inputs, targets = arrays
    axes = _CUSTOMARY.get(inputs.ndim, "") if stored is None else stored
    _check(path, inputs.shape, targets.shape, axes)
    return Patches(path, inputs, targets, axes)


def read_both(path: Path, target: Path) -> tuple[Image, Image]:
    """Read input and target as `formats.read` does."""
    return read(path), read(target)


def read_enlarged(path: Path, target: Path) -> tuple[Image, Image]:
    """Read a plane, interpolated (cubic) on the grid of its target, and the target.

    Raises
    ------
    ValueError
        The target's size is no whole multiple of the plane's, or as `formats.read`.
    """
    from scipy.ndimage import zoom  # training needs it, restoring does not

    image, fine = read(path), read(target)
    shapes = image.array.shape, fine.array.shape
    factor = shapes[1][0] // shapes[0][0] if image.axes == fine.axes == "YX" else 0
    if shapes[1] != tuple(factor * length for length in shapes[0]):
        raise ValueError(
            f"{path}: expected a plane whose size {target} is a whole multiple of, got "
            f"{shapes[0]} and {shapes[1]}; crop both to the same field"
        )
    plane = image.array.astype(np.float32)
    large = zoom(plane, factor, order=3, mode="nearest", grid_mode=True)
    return replace(image, array=large, pixel_size={}), fine


def read_exposures(path: Path) -> tuple[Image, Image]:
    """Read an exposure and the mean of all from W2S's raw stacks (T, Y, X).

    Raises
    ------
    ValueError
        Fewer exposures than published, or as `formats.open_image`.
    """
    image = open_image(path, axes="TYX")
    number = image.array.shape[0]
    if number <= _EXPOSURE:
        raise ValueError(f"{path}: expected 400 exposures (T, Y, X), got {number}; copy it again")
    frames = np.asarray(image.array[...])
    one, mean = frames[_EXPOSURE], frames.mean(axis=0, dtype=np.float32)
    return Image(one, "YX", source=path), Image(mean, "YX", source=path)


def scanned_along_x(inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> bool:
    """Whether planes lack axial detail along X rather than along Y.

    CSBDeep's ``anisotropic_distortions`` subsamples along X unless told otherwise.

    Parameters
    ----------
    inputs, targets
        Planes (Y, X) of the same fields, any real dtype. Compared is the part of the targets'
        squared differences between neighbours that the inputs keep along each axis.
    """

    def kept(axis: int) -> float:
        detail = [
            sum(float(np.square(np.diff(np.float64(plane), axis=axis)).sum()) for plane in planes)
            for planes in (inputs, targets)
        ]
        return detail[0] / max(detail[1], 1e-30)

    return kept(1) < kept(0)


def _check(path: Path, inputs: tuple[int, ...], targets: tuple[int, ...], axes: str) -> None:
    """Raise unless both shapes are the same, with the axes named and something along each."""
    if not set("SYX") <= set(axes) <= set(f"S{AXES}") or len(set(axes)) != len(axes):
        raise ValueError(
            f"{path}: expected axes letters of S{AXES}, each once, with S, Y and X, got {axes!r}; "
            "store them as axes, such as SCYX"
        )
    if inputs != targets or len(axes) != len(inputs) or 0 in inputs:
        raise ValueError(
            f"{path}: expected X and Y of one shape along the axes {axes}, got {inputs} and "
            f"{targets}; projections to fewer planes are not read"
        )


def _stored_axes(array: NpzArray) -> str:
    if array.header.nbytes > _LONGEST:
        raise ValueError(f"axes holds {array.header.nbytes} bytes, no letters")
    letters = np.asarray(array.opened(array.header.shape)).ravel().tolist()
    return "".join(v.decode() if isinstance(v, bytes) else str(v) for v in letters).upper()


def _pixels(array: NpzArray) -> Lazy:
    """Return an array of numbers, left on disk unless compressed."""
    if array.header.dtype.kind not in "uif":
        name = array.entry.filename.removesuffix(".npy")
        raise ValueError(f"{name} holds {array.header.dtype}, and Python objects are never loaded")
    pixels: Lazy = array.opened(array.header.shape)
    return pixels

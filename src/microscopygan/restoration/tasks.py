"""What is done to an image: a task says what a region of the output needs and computes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from ..image.image import Image
from ..image.intensity import AffineMap, to_dtype
from ..image.lazy import region_shape
from ..image.tiles import Region, Tile, mirror, plan_tiles, region_size, relative, take
from ..model_card import ModelCard
from . import DtypeName, HotPixels, Neighbours, Scope, TaskName
from .axial import AxialTask, axial_step
from .intensity_maps import Scales, rounding_loss
from .model import Restorer
from .neighbours import NeighbourAxis

_FEW = 32  # grey levels
_DARK, _MOST_LOST = 50, 0.01  # grey levels, above which rounding cannot cost 1 % of the mean
_UNLIKE = 2  # times the range of the map of a plane; a neighbour of another one is not looked at
RunWindows = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Place = tuple[int, ...]  # of a plane among others


@dataclass(frozen=True)
class Options:
    """What a user chooses of the result.

    Attributes
    ----------
    task
        ``plane`` (along Y and X) or ``axial`` (stacks become isotropic).
    intensity
        What an intensity map covers, see `Scales`.
    channels
        Channels to restore, counted from 0; the others are copied. All where None.
    dtype
        ``same`` as the input (integers are rounded and clipped to their range), ``float32``, or
        ``auto``: float32 for integers of few grey levels, else same.
    keep_sampling
        Of the axial task: return to the planes of the input.
    hot_pixels
        See `without_hot_pixels`.
    neighbours
        See `NeighbourAxis`; of models that see neighbouring planes.
    """

    task: TaskName = "plane"
    intensity: Scope = "volume"
    channels: tuple[int, ...] | None = None
    dtype: DtypeName = "auto"
    keep_sampling: bool = False
    hot_pixels: HotPixels = "auto"
    neighbours: Neighbours = "auto"


class Task(Protocol):
    """A way to restore an image region by region; the result does not depend on the regions."""

    tiled: ClassVar[str]  # axes along which a region needs a halo
    masks: ClassVar[bool]  # NaN and infinite pixels are left out, and are the same in the output

    @property
    def axes(self) -> str:
        """Of the input and of the output."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the output."""

    @property
    def scales(self) -> Scales:
        """Intensity maps of the input."""

    @property
    def neighbours(self) -> NeighbourAxis | None:
        """Along which axis a plane is restored together with its neighbours; None: along none."""

    def source(self, region: Region) -> Region:
        """Return the region of the input that a region of the output depends on."""

    def network_pixels(self, region: Region) -> int:
        """Return how many pixels go through the network for a region of the output."""

    def compute(self, pixels: np.ndarray, region: Region, run_windows: RunWindows) -> np.ndarray:
        """Restore a region of the output from the input's pixels in ``source(region)``."""


@dataclass(frozen=True)
class PlaneTask:
    """Restoration of planes, each by itself or with the planes beside it.

    ::

        planes of a region            3        4        5
        planes that are read     2    3        4        5    6      (not beyond the image's ends)
        windows                {2,3,4}  {3,4,5}  {4,5,6}            on the map of the middle one

    The first and the last plane of the image are their own neighbours, and so is a plane instead of
    one that is empty or whose own map spans another range (a frame that was dropped, a flash), as
    far as planes along this axis have maps of their own. All planes of a window are
    put on about 0..1 by the map of the middle one, which its result goes back by: of a series whose
    time points have maps of their own, too, so that what stays the same looks the same, and does
    not flicker as the maps' percentiles do. NaN and infinite pixels of a neighbour are those of
    the middle plane.

    Attributes
    ----------
    axes, shape, dtype
        Of the output; axes and shape are those of the input.
    scales
        Intensity maps; planes without one are copied.
    halo, multiple
        See `plan_tiles`.
    planes
        Number of planes that the network sees at once, odd.
    neighbours
        The axis along which they lie; None for models of one plane, and where there is but one.
    """

    tiled: ClassVar[str] = "YX"
    masks: ClassVar[bool] = True

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scales: Scales
    halo: int | tuple[int, int]
    multiple: int
    planes: int = 1
    neighbours: NeighbourAxis | None = None

    def source(self, region: Region) -> Region:
        """Return `region` with what its windows show along Y and X, and of neighbouring planes."""
        parts = list(region)
        for letter, places in zip("YX", self._shown(self._tile(region)), strict=True):
            parts[self.axes.index(letter)] = slice(int(places.min()), int(places.max()) + 1)
        if self.neighbours is not None and self.neighbours.axis:
            i, reach = self.axes.index(self.neighbours.axis), self.planes // 2
            start, stop = parts[i].start - reach, parts[i].stop + reach
            parts[i] = slice(max(0, start), min(stop, self.shape[i]))
        return tuple(parts)

    def network_pixels(self, region: Region) -> int:
        """Pixels of the windows of all planes that are not copied."""
        y, x = self.axes.index("Y"), self.axes.index("X")
        planes = [part for i, part in enumerate(region) if i not in (y, x)]
        letters = [letter for letter in self.axes if letter not in "YX"]
        return _restored(self.scales, letters, planes) * region_size(self._tile(region).read)

    def compute(self, pixels: np.ndarray, region: Region, run_windows: RunWindows) -> np.ndarray:
        """Restore or copy each plane of a region; see `Task`."""
        origin, tile = self.source(region), self._tile(region)
        y, x = self.axes.index("Y"), self.axes.index("X")
        rows, columns = (
            places - origin[i].start for places, i in zip(self._shown(tile), (y, x), strict=True)
        )
        result = np.empty(region_shape(region), self.dtype)
        lead = [i for i in range(len(self.axes)) if i not in (y, x)]
        planes, restored_planes = pixels.transpose(*lead, y, x), result.transpose(*lead, y, x)
        order = (*lead, y, x)
        core = relative(tuple(region[i] for i in order), tuple(origin[i] for i in order))
        given, maps, shown = planes[core], {}, []
        for place in np.ndindex(given.shape[:-2]):
            index = {self.axes[i]: region[i].start + k for i, k in zip(lead, place, strict=True)}
            scale = self.scales.of(index)
            if scale is None:
                restored_planes[place] = to_dtype(given[place], self.dtype)
            else:
                maps[place] = scale.map
                shown.append(self._beside(index, origin))
        if maps:
            windows = _cut_windows(planes, shown, list(maps.values()), rows, columns)
            restored = run_windows(windows)[:, 0]
            for window, (place, used) in zip(restored, maps.items(), strict=True):
                restored_planes[place] = to_dtype(used.undo(window[tile.crop]), self.dtype)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            np.copyto(restored_planes, given, where=~np.isfinite(given))
        return result

    def _beside(self, index: dict[str, int], origin: Region) -> list[Place]:
        """Return where, of the planes that were read, those lie that a plane's window shows."""
        axis, reach = self.neighbours.axis if self.neighbours else "", self.planes // 2
        indices = [index]
        if axis:
            steps = range(-reach, reach + 1)
            indices = [index | {axis: self._neighbour(index, axis, step)} for step in steps]
        lead = [(a, part.start) for a, part in zip(self.axes, origin, strict=True) if a not in "YX"]
        return [tuple(one[a] - start for a, start in lead) for one in indices]

    def _neighbour(self, index: dict[str, int], axis: str, step: int) -> int:
        """Return the place of a neighbour along an axis: the plane's own where there is none."""
        here, last = index[axis], self.shape[self.axes.index(axis)] - 1
        there = min(max(0, here + step), last)
        if axis in self.scales.letters:
            own, middle = self.scales.of(index | {axis: there}), self.scales.of(index)
            if own is None or middle is None:
                return here
            ratio = own.map.scale / middle.map.scale
            return there if 1 / _UNLIKE < ratio < _UNLIKE else here
        return there

    def _tile(self, region: Region) -> Tile:
        y, x = self.axes.index("Y"), self.axes.index("X")
        plane, within = (self.shape[y], self.shape[x]), (region[y], region[x])
        (tile,) = plan_tiles(plane, max(plane), self.halo, self.multiple, within=within)
        return tile

    def _shown(self, tile: Tile) -> list[NDArray[np.intp]]:
        """Rows and columns of the plane that a tile's window shows."""
        lengths = (self.shape[self.axes.index(letter)] for letter in "YX")
        return [mirror(read, length) for read, length in zip(tile.read, lengths, strict=True)]


def _cut_windows(
    planes: np.ndarray,
    shown: Sequence[Sequence[Place]],
    maps: Sequence[AffineMap],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Cut windows (N, planes, Y, X) on about 0..1.

    Parameters
    ----------
    planes
        (..., Y, X) that were read.
    shown, maps
        For each window the places of its planes and the map of all of them.
    rows, columns
        What a window shows of a plane.
    """
    finite = planes.dtype.kind != "f" or bool(np.isfinite(planes).all())
    windows = np.empty((len(shown), len(shown[0]), len(rows), len(columns)), np.float32)
    cut: dict[tuple[Place, AffineMap], NDArray[np.float32]] = {}
    for window, places, used in zip(windows, shown, maps, strict=True):
        middle = planes[places[len(places) // 2]]
        for part, place in zip(window, places, strict=True):
            part[...] = (
                cut[place, used]
                if (place, used) in cut
                else take(_scaled(planes[place], used, middle), rows, columns)
            )
            if finite:
                cut[place, used] = part
    return windows


def _scaled(plane: np.ndarray, used: AffineMap, middle: np.ndarray) -> NDArray[np.float32]:
    """Map intensities to about 0..1; NaN and infinite ones as the middle plane's, or to 0."""
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        plane = np.where(np.isfinite(plane), plane, middle)
        plane = np.where(np.isfinite(plane), plane, np.asarray(used.offset, plane.dtype))
    return used.apply(plane)


@dataclass(frozen=True)
class StackTask:
    """Axial restoration of each stack of an image: along its XZ and YZ planes.

    Attributes
    ----------
    axes, shape, dtype
        Of the output; `shape` along Z is that of `geometry`.
    scales
        Intensity maps; stacks without one are interpolated linearly.
    geometry
        The same for every stack.

    Raises
    ------
    ValueError
        Intensity maps for each frame: planes between frames have none.
    """

    tiled: ClassVar[str] = "ZYX"
    masks: ClassVar[bool] = False
    neighbours: ClassVar[None] = None

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scales: Scales
    geometry: AxialTask

    def __post_init__(self) -> None:
        if "Z" in self.scales.letters:
            raise ValueError(
                "intensity: expected volume, image or none for the axial task, got 'frame'; "
                "planes between two frames belong to both"
            )

    def source(self, region: Region) -> Region:
        """Return `region` with what it depends on along Z, Y and X."""
        parts = list(region)
        for i, part in zip(self._volume, self.geometry.source(self._zyx(region)), strict=True):
            parts[i] = part
        return tuple(parts)

    def network_pixels(self, region: Region) -> int:
        """Pixels of the windows of all stacks that are not interpolated only."""
        stacks = [part for i, part in enumerate(region) if i not in self._volume]
        letters = [letter for letter in self.axes if letter not in "ZYX"]
        number = _restored(self.scales, letters, stacks)
        return number * self.geometry.network_pixels(self._zyx(region))

    def compute(self, pixels: np.ndarray, region: Region, run_windows: RunWindows) -> np.ndarray:
        """Restore or interpolate each stack of a region; see `Task`."""
        result = np.empty(region_shape(region), self.dtype)
        lead = [i for i in range(len(self.axes)) if i not in self._volume]
        stacks, restored = (a.transpose(*lead, *self._volume) for a in (pixels, result))
        for place in np.ndindex(stacks.shape[:-3]):
            index = {self.axes[i]: region[i].start + k for i, k in zip(lead, place, strict=True)}
            scale = self.scales.of(index)
            run = _unchanged if scale is None else run_windows
            to = AffineMap(0.0, 1.0) if scale is None else scale.map
            stack = self.geometry.compute(to.apply(stacks[place]), self._zyx(region), run)
            restored[place] = to_dtype(to.undo(stack), self.dtype)
        return result

    @property
    def _volume(self) -> tuple[int, int, int]:
        """Dimensions of Z, Y and X."""
        z, y, x = (self.axes.index(letter) for letter in "ZYX")
        return z, y, x

    def _zyx(self, region: Region) -> tuple[slice, slice, slice]:
        z, y, x = (region[i] for i in self._volume)
        return z, y, x


def _restored(scales: Scales, letters: Sequence[str], parts: Sequence[slice]) -> int:
    """Count the places along some axes that have an intensity map."""
    places = product(*(range(part.start, part.stop) for part in parts))
    return sum(scales.of(dict(zip(letters, place, strict=True))) is not None for place in places)


def _unchanged(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    return windows


def choose_task(image: Image, restorer: Restorer, options: Options) -> Task:
    """Return what is to be done to an image.

    Raises
    ------
    ValueError
        Options that are not known or do not fit the image or the model.
    """
    _check(image, options)
    card = restorer.card
    defects = {part for name in card.defects for part in name.split("+")}
    if options.task == "axial" and "axial" not in defects:
        raise ValueError(
            f"axial task: expected a model that knows the defect axial, got one for "
            f"{', '.join(card.defects)}; train it with an axial/ folder, or leave --task out"
        )
    shape = tuple(image.array.shape)
    sides = [shape[image.axes.index(letter)] for letter in "YX"]
    if min(sides) < restorer.smallest:
        raise ValueError(
            f"{image.source or 'image'}: expected planes of at least {restorer.smallest} pixels a "
            f"side, which {restorer.path.name} takes, got {sides[0]} × {sides[1]}"
        )
    scales = Scales(image, options.intensity, card.low, card.high, options.channels)
    dtype = _output_dtype(image, scales, options.dtype)
    if options.task == "plane":
        axis = _neighbours(image, card, options)
        return PlaneTask(
            image.axes, shape, dtype, scales, card.halo, card.multiple, card.planes, axis
        )
    step = axial_step(image.pixel_size)
    z, y, x = (shape[image.axes.index(letter)] for letter in "ZYX")
    spacing = step if options.keep_sampling else 1.0
    geometry = AxialTask((z, y, x), step, card.halo, card.multiple, spacing)
    longer = list(shape)
    longer[image.axes.index("Z")] = geometry.shape[0]
    return StackTask(image.axes, tuple(longer), dtype, scales, geometry)


def _neighbours(image: Image, card: ModelCard, options: Options) -> NeighbourAxis | None:
    """Return along which axis planes are restored together; None where each is alone."""
    named = options.neighbours in ("z", "t")
    several = [n > 1 for a, n in zip(image.axes, image.array.shape, strict=True) if a in "ZT"]
    if card.planes > 1:
        beside = named or any(several)
        return NeighbourAxis(image, options.neighbours, options.channels) if beside else None
    if named:
        raise ValueError(
            "neighbours: expected auto or none, since the model sees single planes, got "
            f"{options.neighbours!r}; give another --model"
        )
    return None


def few_levels(scales: Scales) -> bool:
    """Whether 0 to 1 of an intensity map spans so few grey levels that rounding is a loss.

    Rounding adds an error of 1/12 squared level. A restored image of 25 dB has one of 0.3 % of
    the squared range, so that below about 32 levels rounding costs more than 0.1 dB.
    """
    if scales.scope == "none":
        return False
    spans = [scale.map.scale for scale in scales.values() if not scale.constant]
    return bool(spans) and min(spans) < _FEW


def _output_dtype(image: Image, scales: Scales, wanted: DtypeName) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(image.array.dtype)
    if wanted == "float32":
        return np.dtype(np.float32)
    if wanted == "same" or dtype.kind not in "ui":
        return dtype
    lossy = few_levels(scales) or _loses_light(image, scales)
    return np.dtype(np.float32) if lossy else dtype


def _loses_light(image: Image, scales: Scales) -> bool:
    """Whether rounding would cost more than 1 % of the mean, as it does of dark photon counts."""
    dark = scales.scope != "none" and any(s.map.offset < _DARK for s in scales.values())
    return dark and rounding_loss(image) > _MOST_LOST


def output_pixel_size(image: Image, options: Options) -> dict[str, float]:
    """Return the pixel size of the output in µm: isotropic after the axial task."""
    if options.task == "plane" or options.keep_sampling:
        return image.pixel_size
    return image.pixel_size | {"Z": image.pixel_size["X"]}


def _check(image: Image, options: Options) -> None:
    name = image.source or "image"
    for option, choices in (
        ("dtype", DtypeName),
        ("task", TaskName),
        ("hot_pixels", HotPixels),
        ("neighbours", Neighbours),
    ):
        if (value := getattr(options, option)) not in get_args(choices):
            expected = " or ".join(map(repr, get_args(choices)))
            raise ValueError(f"{option}: expected {expected}, got {value!r}")
    if options.task == "axial" and "Z" not in image.axes:
        raise ValueError(
            f"{name}: expected a stack with axis Z for the axial task, got {image.axes}; name the "
            "axes anew with --axes"
        )
    if options.task == "axial" and options.neighbours in ("z", "t"):
        raise ValueError(
            "neighbours: expected auto or none for the axial task, which restores each plane by "
            f"itself, got {options.neighbours!r}; leave --neighbours out"
        )
    if options.keep_sampling and options.task != "axial":
        raise ValueError("keep sampling: expected the axial task, got 'plane'; leave it out")
    count = image.array.shape[image.axes.index("C")] if "C" in image.axes else 1
    channels = options.channels
    if channels is not None and not (channels and set(channels) <= set(range(count))):
        raise ValueError(
            f"channels: expected some of 0 to {count - 1} ({name} has {count}), got "
            f"{', '.join(map(str, channels)) or 'none'}"
        )

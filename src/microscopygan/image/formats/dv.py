"""Read DV of DeltaVision, an MRC of its own kind: planes of all channels and times, one piece."""

import math
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..axes import name_axes
from ..image import Image, known_sizes, micrometres, seconds
from ..lazy import LazyArray, MappedArray
from . import Request

_FIELDS: dict[str, tuple[str, int]] = {  # what is used of the header: its kind, its place
    "n": ("(3,)<i4", 0),
    "mode": ("<i4", 12),
    "steps": ("(3,)<f4", 40),
    "extended": ("<i4", 92),
    "mark": ("<u2", 96),
    "each": ("(2,)<i2", 128),
    "times": ("<i2", 180),
    "order": ("<i2", 182),
    "channels": ("<i2", 196),
    "lengths": ("(5,)<i2", 198),
    "texts": ("(10,)S80", 224),
}
_HEADER: np.dtype[Any] = np.dtype(
    {
        "names": list(_FIELDS),
        "formats": [kind for kind, _ in _FIELDS.values()],
        "offsets": [place for _, place in _FIELDS.values()],
        "itemsize": 1024,
    }
)
_MARK = 0xC0A0  # of a DV, in the file's byte order
_MODES = {0: "u1", 1: "i2", 2: "f4", 5: "i2", 6: "u2", 7: "i4"}  # pixels; 3 and 4 are complex
_ORDERS = {0: "CTZYX", 1: "TZCYX", 2: "TCZYX"}  # of the planes, the last running fastest
_ELAPSED = 1  # place of a plane's time in seconds among the numbers of its own


def open_dv(path: Path, request: Request) -> Image:
    """Open a DV file; its pixels are read by slicing.

    Parameters
    ----------
    path
        The file.
    request
        Its axes name the dimensions longer than 1, besides Y and X.

    Returns
    -------
    Image
        Axes of length 1 dropped, except Y and X; wavelengths of emission in nm.

    Raises
    ------
    ValueError
        Damaged, cut, or complex pixels.
    """
    with path.open("rb") as file:
        about = _header(file.read(_HEADER.itemsize))
        more = file.read(min(max(int(about["extended"]), 0), 2**24))
    shape, letters = _layout(about)
    dtype = np.dtype(_MODES[int(about["mode"])]).newbyteorder(about.dtype["mode"].byteorder)
    offset = _HEADER.itemsize + int(about["extended"])
    missing = offset + math.prod(shape) * dtype.itemsize - path.stat().st_size
    if missing > 0 or about["extended"] < 0:
        raise ValueError(f"it is {missing} bytes too short")
    lengths = dict(zip(letters, shape, strict=True))
    kept = "".join(a for a, n in lengths.items() if a in "YX" or n > 1)
    shape = tuple(lengths[a] for a in kept)
    axes = name_axes(str(path), shape, kept, request.axes, request.fallback)
    steps = {a: float(f"{step:.7g}") for a, step in zip("XYZ", about["steps"], strict=True)}
    return Image(
        LazyArray(
            str(path), partial(MappedArray, path.absolute(), dtype, shape, offset), shape, dtype
        ),
        axes,
        known_sizes({a: micrometres(step, "um") for a, step in steps.items()}, axes),
        path,
        interval=_interval(about, more, lengths) if "T" in axes else None,
        details=_details(about, lengths["C"]),
    )


def _header(content: bytes) -> Any:
    """Return the header in the file's byte order."""
    if len(content) < _HEADER.itemsize:
        raise ValueError("it ends within its header")
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        about = np.frombuffer(content, _HEADER.newbyteorder(order), 1)[0]
        if about["mark"] == _MARK:
            return about
    raise ValueError("it lacks the mark of DeltaVision")


def _layout(about: Any) -> tuple[tuple[int, ...], str]:
    """Return shape and letters of all five axes, as the planes lie in the file."""
    width, height, planes = (int(n) for n in about["n"])
    times, channels = (max(int(about[name]), 1) for name in ("times", "channels"))
    order, mode = int(about["order"]), int(about["mode"])
    if min(width, height, planes) < 1 or planes % (times * channels):
        raise ValueError(f"it states {planes} planes of {height} × {width} pixels, {times} times")
    if order not in _ORDERS or mode not in _MODES:
        raise ValueError(f"its pixels are of the kind (mode) {mode}, its planes in order {order}")
    lengths = {"T": times, "C": channels, "Z": planes // (times * channels)}
    lengths |= {"Y": height, "X": width}
    return tuple(lengths[letter] for letter in _ORDERS[order]), _ORDERS[order]


def _interval(about: Any, more: bytes, lengths: dict[str, int]) -> float | None:
    """Seconds between the first two times, of the numbers that each plane has of its own."""
    whole, real = (int(n) for n in about["each"])
    letters = [a for a in lengths if a not in "YX"]
    second = math.prod(lengths[a] for a in letters[letters.index("T") + 1 :])
    size = 4 * (whole + real)
    if real <= _ELAPSED or whole < 0 or len(more) < (second + 1) * size:
        return None
    numbers = np.dtype("f4").newbyteorder(about.dtype["mode"].byteorder)
    start, end = (
        float(np.frombuffer(more, numbers, 1, plane * size + 4 * (whole + _ELAPSED))[0])
        for plane in (0, second)
    )
    return seconds(end - start, "s")


def _details(about: Any, channels: int) -> dict[str, Any]:
    """Wavelengths of the channels, and the lines of text."""
    lengths = [float(n) for n in about["lengths"][:channels] if n > 0]
    texts = [bytes(text).decode("latin1").strip() for text in about["texts"]]
    text = "\n".join(line for line in texts if line and line.isprintable())
    details: dict[str, Any] = {"description": text} if text else {}
    if len(lengths) == channels:
        details["channels"] = [{"emission": length} for length in lengths]
    return details

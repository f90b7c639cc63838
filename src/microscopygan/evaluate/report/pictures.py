"""Pictures inside a page: grey scales, the detail that tells most, rows of figures.

A row of figures shares one grey scale, that of its clean image: black and white are two of its
percentiles (`window`), so that dim structures show beside a few bright ones.
"""

import base64
import html
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from microscopygan.evaluate.metrics import psnr_affine

Plane = NDArray[np.float32]
Planes = Mapping[str, Plane]  # by kind: input, classical, generalist, restored, clean

BLACK, WHITE = 1.0, 99.0  # percentiles of the clean image
DETAIL = 48  # pixels a side


def grey(plane: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Scale a plane so that `low` is black and `high` white.

    Parameters
    ----------
    plane
        (Y, X) float, any scale; NaN becomes black.
    low, high
        Values on that scale.

    Returns
    -------
    (Y, X) uint8.
    """
    span = high - low if high > low else 1.0
    scaled = np.clip((np.nan_to_num(plane, nan=low) - low) / span, 0, 1)
    return np.asarray(np.rint(scaled * 255), np.uint8)


def heat(plane: NDArray[np.float32], high: float) -> NDArray[np.uint8]:
    """Colour 0..`high` from black over red and yellow to white.

    Parameters
    ----------
    plane
        (Y, X) float, 0 or above.
    high
        Value that becomes white.

    Returns
    -------
    (Y, X, 3) uint8.
    """
    level = grey(plane, 0.0, high).astype(np.float64) / 255
    channels = [np.clip(3 * level - shift, 0, 1) for shift in (0, 1, 2)]
    return np.asarray(np.rint(np.stack(channels, -1) * 255), np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an 8-bit image as PNG (ISO/IEC 15948).

    Parameters
    ----------
    pixels
        (Y, X) grey or (Y, X, 3) colour, uint8.

    Returns
    -------
    The file's bytes.
    """
    height, width = pixels.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    colour = 2 if pixels.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    rows = pixels.reshape(height, -1)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    body = zlib.compress(filtered.tobytes(), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def picture(pixels: NDArray[np.uint8], alt: str) -> str:
    """HTML image with the pixels inside.

    Parameters
    ----------
    pixels
        As `png` takes them.
    alt
        What it shows, for those who cannot see it.

    Returns
    -------
    An ``<img>`` element.
    """
    height, width = pixels.shape[:2]
    data = base64.b64encode(png(pixels)).decode("ascii")
    return (
        f'<img width="{width}" height="{height}" alt="{html.escape(alt)}" '
        f'src="data:image/png;base64,{data}">'
    )


class Window(NamedTuple):
    """The values that become black and white."""

    low: float
    high: float


def window(plane: Plane) -> Window:
    """Stretch the contrast: black and white are percentiles of the plane.

    Parameters
    ----------
    plane
        (Y, X) float, any scale.

    Returns
    -------
    Window
        On that scale.

    Examples
    --------
    >>> window(np.arange(101, dtype=np.float32).reshape(1, 101))
    Window(low=1.0, high=99.0)
    """
    low, high = np.nanpercentile(plane, [BLACK, WHITE])
    return Window(float(low), float(high))


class Detail(NamedTuple):
    """A square of an image: rows and columns, in pixels, and how large the image is."""

    rows: slice
    columns: slice
    shape: tuple[int, int]

    def cut(self, plane: Plane) -> Plane:
        """Cut it from a plane (Y, X) of its image."""
        return plane[self.rows, self.columns]

    def outline(self) -> str:
        """Draw it as a frame over a picture of the whole image."""
        (height, width), (y, x) = self.shape, (self.rows, self.columns)
        edges = {
            "top": y.start / height,
            "left": x.start / width,
            "height": (y.stop - y.start) / height,
            "width": (x.stop - x.start) / width,
        }
        place = ";".join(f"{edge}:{share:.2%}" for edge, share in edges.items())
        return f'<i style="{place}"></i>'


def find_detail(planes: Planes, size: int = DETAIL) -> tuple[float, Detail] | None:
    """Find the square in which the pictures of one image differ most.

    Parameters
    ----------
    planes
        With ``clean``; those of its shape (Y, X) are compared.
    size
        Pixels a side, less where the image is smaller.

    Returns
    -------
    The variance among the pictures, averaged over the square, as they are shown: 0 is black, 1 is
    white, what lies beyond is clipped. And the square. None where there is nothing to compare.
    """
    clean = planes["clean"]
    low, high = window(clean)
    same = [plane for plane in planes.values() if plane.shape == clean.shape]
    if len(same) < 2 or high <= low:
        return None
    shown = np.stack([grey(plane, low, high) for plane in same]).astype(np.float32) / 255
    height, width = (min(size, length) for length in clean.shape)
    mean = box_mean(shown.var(axis=0, dtype=np.float64), height, width)
    y, x = (int(k) for k in np.unravel_index(int(mean.argmax()), mean.shape))
    square = Detail(slice(y, y + height), slice(x, x + width), (clean.shape[0], clean.shape[1]))
    return float(mean[y, x]), square


def box_mean(values: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Mean over each rectangle that fits in, at the place of its first row and column."""
    total = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    strips = total[height:] - total[:-height]
    return np.asarray(strips[:, width:] - strips[:, :-width]) / (height * width)


def figure(image: str, title: str, note: str = "", over: str = "") -> str:
    """Put a title below a picture.

    Parameters
    ----------
    image
        ``<img>`` element.
    title, note
        Plain text.
    over
        Elements that lie over the picture.

    Returns
    -------
    A ``<figure>`` element.
    """
    caption = f"{html.escape(title)}<span>{html.escape(note)}</span>"
    return f"<figure><div>{image}{over}</div><figcaption>{caption}</figcaption></figure>"


def row(figures: Sequence[str], note: str = "") -> str:
    """Set figures side by side, with a line of plain text below them."""
    below = f'<p class="scale">{html.escape(note)}</p>' if note else ""
    return f'<div class="row n{len(figures)}">{"".join(figures)}{below}</div>'


def scale_note(scale: Window, of: str) -> str:
    """Say what black and white are in a row of pictures."""
    low, high = (f"{round(value, 2) + 0:.2f}".replace("-", "−") for value in scale)
    return f"Black is {low}, white {high}: percentiles {BLACK:g} and {WHITE:g} of {of}."


def image_row(planes: Planes, titles: Mapping[str, str], about: str, over: str = "") -> str:
    """Show one image: what `titles` names, the clean image, and what is still wrong.

    Parameters
    ----------
    planes
        With ``clean``, (Y, X) on one scale.
    titles
        Kind of a plane to its title, in order.
    about
        What the image is, for those who cannot see it.
    over
        Elements that lie over each picture of the image.

    Returns
    -------
    A row of figures, each with its affine-fit PSNR.
    """
    clean = planes["clean"]
    scale = window(clean)
    figures = [
        figure(
            picture(grey(planes[k], *scale), f"{t}, {about}"), t, _quality(clean, planes[k]), over
        )
        for k, t in titles.items()
        if k in planes
    ]
    truth = picture(grey(clean, *scale), f"Clean, {about}")
    figures.append(figure(truth, "Clean", "the target", over))
    if "restored" in planes and planes["restored"].shape == clean.shape:
        left = heat(np.abs(planes["restored"] - clean), 0.5 * (scale.high - scale.low))
        title = f"|{titles['restored']} − clean|"
        figures.append(figure(picture(left, f"{title}, {about}"), title, "white: half the range"))
    return row(figures, scale_note(scale, "the clean image"))


def detail_row(planes: Planes, titles: Mapping[str, str], square: Detail, about: str) -> str:
    """Show one detail enlarged, with a grey scale of its own: what `titles` names, and clean."""
    scale = window(square.cut(planes["clean"]))
    figures = [
        figure(picture(grey(square.cut(planes[kind]), *scale), f"Detail: {title}, {about}"), title)
        for kind, title in (dict(titles) | {"clean": "Clean"}).items()
        if kind in planes and planes[kind].shape == planes["clean"].shape
    ]
    return row(figures, scale_note(scale, "the clean detail"))


def _quality(clean: Plane, plane: Plane) -> str:
    try:
        return f"{psnr_affine(clean, plane):.2f} dB"
    except ValueError:
        return ""

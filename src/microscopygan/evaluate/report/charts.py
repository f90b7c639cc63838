"""Pictures inside a page: PNG as data address, line charts as SVG. No third parties."""

import base64
import html
import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 420, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30
POINTS = 400


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


def smooth(values: NDArray[np.float64], weight: float = 0.95) -> NDArray[np.float64]:
    """Exponential moving average without the start's bias (as in Adam, Kingma & Ba 2015).

    Parameters
    ----------
    values
        1-D, finite.
    weight
        Of the past, 0 up to but not 1.

    Returns
    -------
    1-D, of the same length.

    Examples
    --------
    >>> smooth(np.array([2.0, 2.0, 2.0])).round(6).tolist()
    [2.0, 2.0, 2.0]
    """
    total, norm, result = 0.0, 0.0, np.empty(len(values))
    for i, value in enumerate(values):
        total = weight * total + (1 - weight) * float(value)
        norm = weight * norm + (1 - weight)
        result[i] = total / norm
    return result


def _number(value: float) -> str:
    return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).astype(int))
    return "M" + "L".join(f"{x[i]:.1f} {y[i]:.1f}" for i in keep)


def _ticks(low: float, high: float, log: bool) -> list[float]:
    if log:
        decades = [10.0**k for k in range(math.ceil(low), math.floor(high) + 1)]
        if len(decades) >= 2:
            return [math.log10(d) for d in decades[:: max(1, len(decades) // 4)]]
    return list(np.linspace(low, high, 4))


def line_chart(steps: Sequence[float], values: Sequence[float], name: str) -> str:
    """Curve over training steps: raw pale, smoothed strong; logarithmic where all are positive.

    Parameters
    ----------
    steps, values
        Of one length; pairs with NaN or infinity are left out.
    name
        What the values are.

    Returns
    -------
    An ``<svg>`` element; empty text where fewer than two points are left.
    """
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if len(x) < 2:
        return ""
    log = bool(y.min() > 0)
    raw, mean = (np.log10(v) if log else v for v in (y, smooth(y)))
    low, high = float(raw.min()), float(raw.max())
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    across = LEFT + (x - x.min()) / max(float(np.ptp(x)), 1e-9) * (WIDTH - LEFT - RIGHT)

    def down(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(TOP + (high - v) / (high - low) * (HEIGHT - TOP - BOTTOM))

    return _svg(
        name,
        _grid(low, high, log) + _steps_axis(x),
        _path(across, down(raw)),
        _path(across, down(mean)),
        f"{name} from {_number(y[0])} to {_number(float(smooth(y)[-1]))} over {int(x.max())} steps",
    )


def _grid(low: float, high: float, log: bool) -> str:
    lines = []
    for tick in _ticks(low, high, log):
        y = TOP + (high - tick) / (high - low) * (HEIGHT - TOP - BOTTOM)
        text = _number(10**tick if log else tick)
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    return "".join(lines)


def _steps_axis(x: NDArray[np.float64]) -> str:
    y = HEIGHT - 8
    return (
        f'<text x="{LEFT}" y="{y}">{x.min():,.0f}</text>'
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{y}" text-anchor="middle">step</text>'
        f'<text x="{WIDTH - RIGHT}" y="{y}" text-anchor="end">{x.max():,.0f}</text>'
    )


def _svg(name: str, axes: str, raw: str, mean: str, label: str) -> str:
    return (
        f'<figure class="chart"><figcaption>{html.escape(name)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label)}">'
        f'{axes}<path class="raw" d="{raw}"/><path class="mean" d="{mean}"/></svg></figure>'
    )

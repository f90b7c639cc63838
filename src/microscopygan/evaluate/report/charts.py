"""Line charts as SVG inside a page."""

import html
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 420, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30
POINTS = 400


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
    text = f"{value:.3g}"
    text = text if len(text.lstrip("-")) <= 6 else f"{value:.1e}"
    return text.replace("e+0", "e").replace("e-0", "e-")


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).astype(int))
    return "M" + "L".join(f"{x[i]:.1f} {y[i]:.1f}" for i in keep)


def _ticks(low: float, high: float, log: bool) -> list[float]:
    if log:
        decades = [10.0**k for k in range(math.ceil(low), math.floor(high) + 1)]
        if len(decades) >= 2:
            return [math.log10(d) for d in decades[:: max(1, len(decades) // 4)]]
    return list(np.linspace(low, high, 4))


def line_chart(
    steps: Sequence[float],
    values: Sequence[float],
    name: str,
    weight: float = 0.95,
    *,
    axis: str = "step",
    log: bool = True,
) -> str:
    """Curve over training steps: raw pale, smoothed strong; logarithmic where all are positive.

    Parameters
    ----------
    steps, values
        Of one length; pairs with NaN or infinity are left out.
    name
        What the values are.
    weight
        Of the past in the smoothed curve, see `smooth`; 0 draws the values alone.
    axis
        What one of the steps is.
    log
        False: never logarithmic.

    Returns
    -------
    An ``<svg>`` element; empty text where fewer than two points are left.
    """
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if len(x) < 2:
        return ""
    log = log and bool(y.min() > 0)
    raw, mean = (np.log10(v) if log else v for v in (y, smooth(y, weight)))
    low, high = float(raw.min()), float(raw.max())
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    across = LEFT + (x - x.min()) / max(float(np.ptp(x)), 1e-9) * (WIDTH - LEFT - RIGHT)

    def down(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(TOP + (high - v) / (high - low) * (HEIGHT - TOP - BOTTOM))

    last = float(10 ** mean[-1] if log else mean[-1])
    return _svg(
        name,
        _grid(low, high, log) + _steps_axis(x, axis),
        _path(across, down(raw)),
        _path(across, down(mean)),
        f"{name} from {_number(y[0])} to {_number(last)} over {_number(float(x.max()))} {axis}s",
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


def _steps_axis(x: NDArray[np.float64], axis: str) -> str:
    y = HEIGHT - 8
    least, most = (f"{end:,.0f}" if float(end).is_integer() else _number(end) for end in _ends(x))
    middle = (LEFT + WIDTH - RIGHT) / 2
    return (
        f'<text x="{LEFT}" y="{y}">{least}</text>'
        f'<text x="{middle}" y="{y}" text-anchor="middle">{html.escape(axis)}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{y}" text-anchor="end">{most}</text>'
    )


def _ends(x: NDArray[np.float64]) -> tuple[float, float]:
    return float(x.min()), float(x.max())


def _svg(name: str, axes: str, raw: str, mean: str, label: str) -> str:
    return (
        f'<figure class="chart"><figcaption>{html.escape(name)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label)}">'
        f'{axes}<path class="raw" d="{raw}"/><path class="mean" d="{mean}"/></svg></figure>'
    )

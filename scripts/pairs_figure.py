"""Draw what pairs gain: the figure of the benchmark's page, from its published scores.

``python scripts/pairs_figure.py`` writes docs/images/pairs.svg anew from docs/benchmark/scores.csv.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from statistics import fmean

DOCS = Path(__file__).resolve().parents[1] / "docs"
TASKS = {"noise": "noise", "lowres": "low resolution", "axial": "few planes along the axis"}
METHODS = {"default": ("MicroscopyGAN", "#0b7285"), "care": ("CARE", "#e8590c")}
PAIRS = ("1", "3", "10", "30", "all")
WIDTH, HEIGHT = 250, 200  # of a panel, without what is around it
LEFT, TOP, GAP, BELOW = 62, 64, 48, 48
FONT = 'font-family="system-ui, sans-serif"'


def gains(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Return the gain over the input in dB by method and task, for each number of pairs."""
    scores: dict[tuple[str, ...], list[float]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = row["method"], row["task"], row["setting"], row["pairs"]
            scores[key].append(float(row["psnr_affine"]))
    means = {key: fmean(values) for key, values in scores.items()}
    return {
        (method, task): {
            pairs: means[method, task, "A", pairs] - means["input", task, "A", "0"]
            for pairs in PAIRS
            if (method, task, "A", pairs) in means
        }
        for method in METHODS
        for task in TASKS
    }


def panel(task: str, curves: dict[str, dict[str, float]], left: float) -> str:
    """Draw one task: a line for each method, gain over the input against the number of pairs."""
    values = [gain for curve in curves.values() for gain in curve.values()]
    low, high = min(0.0, *values), max(values)
    step = 2.0 if high - low > 5 else 1.0
    low, high = (low // step) * step, -(-high // step) * step

    def down(gain: float) -> float:
        return TOP + (high - gain) / (high - low) * HEIGHT

    across = {p: left + (k + 0.5) / len(PAIRS) * WIDTH for k, p in enumerate(PAIRS)}
    parts = [text(left + WIDTH / 2, TOP - 14, TASKS[task], weight="600")]
    for k in range(round((high - low) / step) + 1):
        tick = low + k * step
        shade = "#495057" if tick == 0 else "#dee2e6"
        y = down(tick)
        parts.append(
            f'<line x1="{left}" x2="{left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{shade}"/>'
        )
        parts.append(text(left - 8, y + 4, f"{tick:+g}" if tick else "0", anchor="end"))
    for pairs, x in across.items():
        parts.append(text(x, TOP + HEIGHT + 18, pairs))
    for method, curve in curves.items():
        colour = METHODS[method][1]
        points = [(across[pairs], down(gain)) for pairs, gain in curve.items()]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points]
    return "\n".join(parts)


def text(x: float, y: float, words: str, **how: str) -> str:
    """Write words; centred where not said otherwise."""
    anchor, weight, colour = (
        how.get(name, usual)
        for name, usual in (("anchor", "middle"), ("weight", "400"), ("colour", "#343a40"))
    )
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {FONT} font-size="13" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colour}">{words}</text>'
    )


def draw(found: dict[tuple[str, str], dict[str, float]]) -> str:
    """Lay out the figure: a panel for each task, and what the colours mean."""
    width = LEFT + len(TASKS) * (WIDTH + GAP)
    height = TOP + HEIGHT + BELOW
    parts = [f'<rect width="{width}" height="{height}" fill="white"/>']
    x = LEFT
    for name, colour in METHODS.values():
        parts.append(f'<circle cx="{x + 4}" cy="18" r="4" fill="{colour}"/>')
        parts.append(text(x + 14, 22, name, anchor="start", weight="600", colour=colour))
        x += 40 + 9 * len(name)
    parts.append(text(x, 22, "gain over the untouched input, PSNR in dB", anchor="start"))
    for number, task in enumerate(TASKS):
        curves = {method: found[method, task] for method in METHODS}
        parts.append(panel(task, curves, LEFT + number * (WIDTH + GAP)))
    middle = LEFT + (len(TASKS) * (WIDTH + GAP) - GAP) / 2
    parts.append(text(middle, TOP + HEIGHT + 40, "pairs of each task"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">\n' + "\n".join(parts) + "\n</svg>\n"
    )


def main(arguments: list[str] | None = None) -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=DOCS / "images" / "pairs.svg")
    output = parser.parse_args(arguments).output
    output.write_text(draw(gains(DOCS / "benchmark" / "scores.csv")), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Tables: means, intervals over fields, shares of the ceiling, from the cells' files alone."""

from __future__ import annotations

from typing import Any

import pytest

from microscopygan_bench.odd.cells import Cell
from microscopygan_bench.odd.tables import Results, conditions, gains, harm, methods, shares, sheets

IMAGES = [f"field_{k}" for k in range(6)]


def figures(psnr: float, minutes: float = 0, said: str = "", **more: float) -> dict[str, Any]:
    """A cell whose images have a mean PSNR, by method."""
    means = more or {"row": psnr}
    scores = {
        name.replace("_", " "): {
            "psnr": {image: mean + (-1) ** k for k, image in enumerate(IMAGES)},
            "ssim": {image: mean / 100 for image in IMAGES},
        }
        for name, mean in means.items()
    }
    return {
        "scores": scores, "minutes": minutes, "said": said, "threads": 2, "load": [1.0, 2.0],
        "machine": "a machine, commit abc", "processor_seconds": 9.0, "pace": 0.2, "data": "d",
    }  # fmt: skip


@pytest.fixture
def results() -> Results:
    cells = {
        Cell("rows", "input"): figures(20),
        Cell("rows", "shipped"): figures(21),
        Cell("rows", "classical"): figures(0, median=19.0, wavelet_FFT=22.0),
        Cell("rows", "like-10"): figures(28, 5, "Adapted"),
        Cell("rows", "ceiling"): figures(30, 5),
        Cell("hum", "input"): figures(25),
        Cell("hum", "shipped"): figures(24),
        Cell("hum", "like-10"): figures(24, 5, "refused: expected more"),
    }
    return Results(cells)


def test_gains_are_over_the_input_and_the_best_is_bold(results: Results) -> None:
    text = gains(results).markdown()
    assert "| rows | 20.00 | +1.00 | +2.00 | **+8.00** | +10.00 |" in text
    assert "| hum | 25.00 | -1.00 | – | -1.00 | – |" in text
    assert "| mean | 22.50 | +0.00 | – | +3.50 | – |" in text


def test_the_best_classical_method_counts_and_all_are_shown(results: Results) -> None:
    assert results.method("rows", "classical") == "wavelet FFT"
    rows = methods(results).rows
    assert [row[1] for row in rows] == ["median", "wavelet FFT (best)"]
    assert rows[1][2].startswith("+2.00 [")


def test_shares_are_of_the_gain_of_the_ceiling(results: Results) -> None:
    assert results.share("rows", "like-10") == pytest.approx(0.8)
    assert [row[:3] for row in shares(results).rows] == [
        ["rows", "10%", "80%"],
        ["mean", "10%", "80%"],
        ["least", "10%", "80%"],
    ]


def test_harm_is_against_what_ships(results: Results) -> None:
    assert [row[1][:5] for row in harm(results).rows] == ["+7.00", "+0.00"]


def test_intervals_are_over_fields() -> None:
    mine, theirs = figures(20), figures(19)
    for image, value in mine["scores"]["row"]["psnr"].items():
        mine["scores"]["row"]["psnr"][image] = value + (image == "field_0") * 6
    results = Results({Cell("rows", "input"): theirs, Cell("rows", "shipped"): mine})
    found = results.minus("rows", "shipped", "input")
    assert found.mean == pytest.approx(2)
    assert found.low == pytest.approx(1)
    assert 3 < found.high <= 7


def test_conditions_name_machines_and_refusals(results: Results) -> None:
    text = conditions(results.cells)
    assert "a machine, commit abc" in text
    assert "3 trainings of 5 min on 2 threads" in text
    assert "Refused: hum, 10 unpaired: refused: expected more" in text


def test_tables_without_trainings_are_left_out() -> None:
    titles = [sheet.title for sheet in sheets(Results({Cell("rows", "input"): figures(20)}))]
    assert titles == [
        "Gain over the input", "With intervals: PSNR, dB", "With intervals: SSIM"
    ]  # fmt: skip

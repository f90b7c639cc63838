"""Tables hold the figures; the best is in bold; draws that both have are compared."""

from __future__ import annotations

from microscopygan_bench.restoration import scores, tables
from microscopygan_bench.restoration.methods import METHODS


def rows_of(method: str, setting: str, pairs: str, means: list[float]) -> list[scores.Row]:
    """Scores of three images with these means, a draw each."""
    return [
        {"method": method, "setting": setting, "pairs": pairs, "draw": float(draw), "task": "noise"}
        | {"image": str(k), "source": str(k)}
        | {measure: mean + k for measure in tables.MEASURES}
        for draw, mean in enumerate(means)
        for k in range(3)
    ]


def cost(method: str, task: str) -> scores.Row:
    """What a cell of 10 pairs took."""
    named = {"method": method, "setting": "A", "pairs": "10", "draw": 0.0, "cell": task}
    figures = {"training_seconds": 300.0, "inference_seconds": 6.0, "images": 60.0}
    return named | figures | {"parameters": 9.0, "steps": 7.0, "machine": "here", "pace": 0.25}


def test_tables_hold_the_figures() -> None:
    results = tables.Results(
        rows_of("input", "A", "0", [10.0])
        + rows_of("care", "A", "10", [17.0, 19.0])
        + rows_of("default", "A", "10", [18.0, 20.0])
        + rows_of("default", "B", "0", [16.0, 16.0])
        + rows_of("oracle", "A", "all", [20.0]),
        [],
    )
    assert results.groups == [("A", "10"), ("B", "0")]
    overview, psnr, _, details = tables.sheets(results, ("A", "10"))
    titles = [METHODS[name].title for name in ("input", "care", "default", "oracle")]
    assert [row[0] for row in overview.rows] == titles
    assert [row[1].split(" /")[0] for row in overview.rows] == [
        "11.00",
        "19.00 ± 1.41",
        "20.00 ± 1.41",
        "21.00",
    ]
    assert overview.best == {(2, 1)}
    assert "| **20.00 ± 1.41 /" in overview.markdown()
    assert [row[1] for row in psnr.rows] == [
        "+9.00 [+9.00, +9.00]",
        "+1.00 [+1.00, +1.00]",
        "-1.00 [-1.00, -1.00]",
    ]
    share = details.head.index("of the oracle's gain")
    assert [row[share] for row in details.rows] == ["0%", "80%", "90%", "100%"]
    costs = tables.Results([], [cost("care", task) for task in ("noise", "lowres")])
    once = tables._cost_texts(costs, ("care", "A", "10"), "noise")
    assert once == ["300", "0.100", "9", "7", "0.250"]
    both = tables._cost_texts(costs, ("care", "A", "10"), "noise+lowres")
    assert both == ["600", "0.200", "18", "14", "0.250"]  # two networks, one after the other
    without = tables.differences(results, ("B", "0"), "psnr_affine")
    assert without.rows[-1] == ["CARE (CSBDeep), 10 pairs of each task", "-2.00 [-2.00, -2.00]"]


def test_methods_of_several_numbers_of_pairs_are_set_side_by_side() -> None:
    results = tables.Results(
        [row for n, mean in enumerate((13.0, 11.0, 12.0, 10.0))
         for row in rows_of("care", "A", ("all", "3", "30", "1")[n], [mean])]
        + rows_of("care", "B", "0", [9.0])
        + rows_of("default", "A", "10", [18.0, 20.0]),
        [],
    )  # fmt: skip
    assert [[row[0], row[1].split(" /")[0]] for row in tables.by_pairs(results).rows] == [
        ["CARE (CSBDeep), 1 pair", "11.00"],
        ["CARE (CSBDeep), 3 pairs", "12.00"],
        ["CARE (CSBDeep), 30 pairs", "13.00"],
        ["CARE (CSBDeep), all pairs", "14.00"],
    ]
    assert not tables.by_pairs(tables.Results(rows_of("default", "A", "10", [18.0]), [])).rows


def test_variants_are_compared_in_draws_that_both_have() -> None:
    results = tables.Results(
        rows_of("default", "A", "10", [18.0, 30.0])
        + rows_of("care", "A", "10", [17.0])
        + rows_of("content", "A", "10", [16.0]),
        [],
    )
    overview, others, _, parts, _, details = tables.sheets(results, ("A", "10"))
    assert [len(sheet.rows) for sheet in (overview, others, parts, details)] == [2, 1, 1, 3]
    assert others.rows == [["CARE (CSBDeep)", "+1.00 [+1.00, +1.00]"]]
    assert parts.rows == [["with content loss", "+2.00 [+2.00, +2.00]"]]

import math

from microscopygan.evaluate.score_table import score_table


def test_known_methods_come_first_and_cells_without_a_number_are_left_out():
    rows = [
        {"defect": "noise", "method": "mine", "psnr_affine": "inf"},
        {"defect": "noise", "method": "restored", "psnr_affine": 30.0},
        {"defect": "noise", "method": "restored", "psnr_affine": ""},
        {"defect": "haze", "method": "input", "psnr_affine": "20"},
    ]
    table = score_table(rows)
    assert list(table) == ["noise", "haze"]
    assert list(table["noise"]) == ["input", "restored", "mine"]
    assert table["noise"]["restored"].mean == 30
    assert table["noise"]["restored"].text(1) == "30.0"
    assert table["haze"]["mine"].text(1) == "–"
    assert math.isnan(table["noise"]["mine"].mean)

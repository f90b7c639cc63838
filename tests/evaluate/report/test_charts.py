import re

import numpy as np

from microscopygan.evaluate.report.charts import line_chart, smooth


def test_charts_take_what_training_gives():
    assert line_chart([0], [1.0], "loss") == ""
    assert "<svg" in line_chart([0, 1, 2], [1.0, float("nan"), 1.0], "loss")
    assert "nan" not in line_chart([0, 1, 2], [1.0, float("nan"), -1.0], "loss")
    assert smooth(np.arange(9.0))[-1] < 8


def test_a_chart_without_smoothing_ends_at_the_last_value():
    chart = line_chart([0, 1, 2], [1.0, 2.0, 8.0], "gain", weight=0)
    assert "gain from 1 to 8 over 2 steps" in chart
    raw, mean = re.findall(r' d="([^"]+)"', chart)
    assert raw == mean


def test_labels_fit_beside_the_axis():
    labels = re.findall(r'end">([^<]+)<', line_chart([0, 1], [0.000136, 0.00232], "loss"))
    assert labels
    assert max(map(len, labels)) <= 7

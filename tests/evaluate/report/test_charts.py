import numpy as np

from microscopygan.evaluate.report.charts import line_chart, smooth


def test_charts_take_what_training_gives():
    assert line_chart([0], [1.0], "loss") == ""
    assert "<svg" in line_chart([0, 1, 2], [1.0, float("nan"), 1.0], "loss")
    assert "nan" not in line_chart([0, 1, 2], [1.0, float("nan"), -1.0], "loss")
    assert smooth(np.arange(9.0))[-1] < 8

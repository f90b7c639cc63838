"""Frames of one field belong together."""

from pathlib import Path

import pytest

from microscopygan_bench.frames import field_of


def test_frames_of_one_field_belong_together() -> None:
    assert field_of(Path("w2s_003_1_noisy.tif")) == field_of(Path("w2s_003_2_noisy.tif")) == "003"
    with pytest.raises(ValueError, match="rename it"):
        field_of(Path("a_noisy.tif"))

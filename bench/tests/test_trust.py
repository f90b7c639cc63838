"""Trust in the generalist: what it loses of the light is seen, whatever an affine fit hides."""

from types import SimpleNamespace

import pytest

from microscopygan_bench.trust import BACKGROUNDS, light_added


@pytest.mark.parametrize(("background", "read_noise"), BACKGROUNDS)
def test_light_is_counted_above_the_background(background: float, read_noise: float) -> None:
    kept = SimpleNamespace(restore_plane=lambda plane: plane)
    assert light_added(kept, 50, background, read_noise) == pytest.approx(0, abs=0.03)
    halved = SimpleNamespace(restore_plane=lambda plane: plane - plane.mean() / 2)
    assert light_added(halved, 50, background, read_noise) < -0.2

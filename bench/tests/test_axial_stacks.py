"""Stacks with every 4th plane kept: what is trained on, and the methods' planes."""

import numpy as np

from microscopygan.image.image import Image
from microscopygan_bench.axial_stacks import KEPT, cubic, training_set


def test_training_sees_the_thinned_stack_alone() -> None:
    stack = np.random.default_rng(0).random((6, 20, 24)).astype(np.float32)
    data = training_set(Image(stack, "ZYX", {"Z": 0.4, "Y": 0.1, "X": 0.1}))
    assert not data.pairs
    assert [s.plane.shape for s in data.clean] == [(20, 24)] * 6 + [(24, 20)] * 6
    depths = {sample.plane.shape[0] for sample in data.defective["axial"]}
    assert depths == {KEPT * 5 + 1}
    assert len(data.defective["axial"]) == 20 + 24


def test_cubic_keeps_the_planes_that_are_there() -> None:
    rng = np.random.default_rng(1)
    planes = rng.random((5, 4, 4))
    assert np.allclose(cubic(planes)[::KEPT], planes, atol=1e-6)

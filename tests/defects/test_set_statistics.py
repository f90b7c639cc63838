import numpy as np
import pytest
from scipy import ndimage

from microscopygan.defects import all_defects, set_statistics
from microscopygan.defects.specimens import nuclei

MEASURES = ("light", "rays", "shifts", "gains", "grain", "rhythm", "shared")


@pytest.fixture(scope="module")
def squares() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [nuclei((128, 128), rng) for _ in range(4)]


def spoiled(squares: list[np.ndarray], stage: str, **fixed: float) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    defect = all_defects()[stage].draw(rng, **fixed)
    return [defect.apply(square, rng) for square in squares]


@pytest.mark.parametrize("name", MEASURES)
def test_measures_are_finite_and_as_many_for_any_set(name: str, squares: list[np.ndarray]) -> None:
    measure = getattr(set_statistics, name)
    dark = measure([np.zeros((128, 128), np.float32)])
    assert dark.shape == measure(squares).shape
    assert np.isfinite(dark).all()


@pytest.mark.parametrize(
    ("name", "stage", "fixed"),
    [
        ("rays", "shadows", {"depth": 0.8, "width": 3.0, "density": 12.0}),
        ("shifts", "jitter", {"random": 2.0}),
        ("gains", "stripes", {"gain": 0.3, "length": 0.0}),
    ],
)
def test_either_axis_is_alike(
    name: str, stage: str, fixed: dict[str, float], squares: list[np.ndarray]
) -> None:
    """What is measured of rows and columns does not depend on which of them the defect is in."""
    measure = getattr(set_statistics, name)
    rows = spoiled(squares, stage, axis=0, **fixed)
    columns = [np.ascontiguousarray(plane.T) for plane in rows]
    axes = {"rays": 8, "shifts": None, "gains": None}[name]  # then each axis by itself
    assert np.allclose(measure(rows)[:axes], measure(columns)[:axes], atol=1e-4)
    assert measure(rows)[0] > measure(squares)[0] + 0.05


def test_light_that_falls_off_bends_down(squares: list[np.ndarray]) -> None:
    flat = [0.5 + 0.05 * square for square in squares]
    dim = set_statistics.light(spoiled(flat, "uneven", strength=0.8))
    assert dim[0] > 0.8
    assert dim[1] < 0
    assert dim[3] > set_statistics.light(flat)[3] + 0.5


def test_smooth_noise_is_alike_in_neighbours() -> None:
    rng = np.random.default_rng(0)
    white = [rng.normal(size=(128, 128)).astype(np.float32) for _ in range(3)]
    smooth = [ndimage.gaussian_filter(plane, (1.0, 0.0)) for plane in white]
    down, right = 1, 3
    assert np.abs(set_statistics.grain(white)[[down, right]]).max() < 0.1
    assert set_statistics.grain(smooth)[down] > 0.6
    assert abs(set_statistics.grain(smooth)[right]) < 0.1


def test_planes_apart_leave_their_rhythm(squares: list[np.ndarray]) -> None:
    step = set_statistics.PERIODS.index(4)
    peaks = slice(-3 * len(set_statistics.PERIODS), -2 * len(set_statistics.PERIODS))
    apart = set_statistics.rhythm(spoiled(squares, "axial", step=4, sigma_z=0.5))[peaks]
    assert apart[step] > set_statistics.rhythm(squares)[peaks][step] + 1


def test_a_pattern_of_the_camera_is_shared(squares: list[np.ndarray]) -> None:
    patterned = spoiled(squares, "camera", gain=0.0, offset=0.1, columns=0.0)
    assert set_statistics.shared(patterned)[0] > set_statistics.shared(squares)[0] + 0.5
    assert np.allclose(set_statistics.shared(squares[:1]), 0, atol=0.01)

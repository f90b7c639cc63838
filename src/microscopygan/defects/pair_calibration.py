"""Calibration of blur and sampling on real pairs, which say far more than unpaired images do.

The clean image of each pair is degraded with trial parameters and compared with its defective
partner, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from microscopygan.defects.parameters import Axial, Defect, LowResolution
from microscopygan.image.intensity import percentile_map

Plane = NDArray[np.float32]
Pairs = Sequence[tuple[NDArray[np.generic], NDArray[np.generic]]]

PAIRS = 16  # pairs looked at, at most
CROP = 128  # pixels
COARSE, FINE = 6, 24  # trial widths of the point spread function
GRAIN = 5  # pixels; the noise of binned pixels reaches further
PHOTONS = np.geomspace(20, 5000, 30)  # photons of a binned pixel at intensity 1


def calibrate_pairs(kind: type[Defect], pairs: Pairs, rng: np.random.Generator) -> list[Defect]:
    """Find the parameters that turn the clean image of each pair into its defective one.

    The step or the binning is one for all pairs; the width of the point spread function, and the
    photons, are found pair by pair. The gain and offset of the images do not matter.

    Parameters
    ----------
    kind : type
        `Axial` or `LowResolution`.
    pairs : sequence of (defective, clean)
        Arrays (Y, X) of one shape and field, at least 32 x 32 pixels; axis 0 is the axial one of
        `Axial`.
    rng : numpy.random.Generator
        Chooses pairs, and draws the noise of trials.

    Returns
    -------
    list of `kind`
        One for each pair looked at.

    Raises
    ------
    ValueError
        Another kind, or no pairs.

    Examples
    --------
    >>> from microscopygan.defects.specimens import nuclei
    >>> rng = np.random.default_rng(0)
    >>> clean = [nuclei((96, 96), rng) for _ in range(2)]
    >>> truth = LowResolution(sigma=2.0, binning=2, photons=300)
    >>> found = calibrate_pairs(LowResolution, [(truth.apply(p, rng), p) for p in clean], rng)
    >>> [item.binning for item in found], bool(abs(found[0].sigma - 2) < 0.2)
    ([2, 2], True)
    """
    if not pairs:
        raise ValueError("expected pairs to calibrate on, got none; add some, or calibrate blindly")
    if kind not in (Axial, LowResolution):
        raise ValueError(f"expected Axial or LowResolution, got {kind.__name__}; calibrate blindly")
    chosen = rng.permutation(len(pairs))[:PAIRS]
    crops = [(_middle(pairs[i][0]), _normalised(_middle(pairs[i][1]))) for i in chosen]
    find = _axial if kind is Axial else _low_resolution
    return find(crops, rng)


def _axial(crops: list[tuple[Plane, Plane]], rng: np.random.Generator) -> list[Defect]:
    widths, steps = _widths(Axial, "sigma_z", COARSE), _integers(Axial, "step")

    def misfit(bad: Plane, clean: Plane, step: int, width: float, phases: Sequence[int]) -> float:
        trials = [Axial(sigma_z=width, step=step, phase=phase) for phase in phases]
        return min(_misfit(bad, trial.apply(clean, rng)) for trial in trials)

    def total(step: int) -> float:
        return sum(
            min(misfit(bad, clean, step, width, range(step)) for width in widths)
            for bad, clean in crops
        )

    step = min(steps, key=total)
    found: list[Defect] = []
    for bad, clean in crops:
        phase = min(range(step), key=lambda p: misfit(bad, clean, step, widths[1], [p]))
        fine = _widths(Axial, "sigma_z", FINE)
        width = min(fine, key=lambda w: misfit(bad, clean, step, w, [phase]))
        found.append(Axial(sigma_z=width, step=step))
    return found


def _low_resolution(crops: list[tuple[Plane, Plane]], rng: np.random.Generator) -> list[Defect]:
    """Blur hides the binning, but the noise, whose grain is a binned pixel, shows it."""
    trials = [
        [_fitted(bad, clean, binning, rng) for bad, clean in crops]
        for binning in _integers(LowResolution, "binning")
    ]

    def unlike(trial: list[LowResolution]) -> float:
        grains = []
        for (bad, clean), fitted in zip(crops, trial, strict=True):
            plain = fitted.model_copy(update={"photons": None}).apply(clean, rng)
            made = fitted.apply(clean, rng)
            grains.append(_grain(_residual(bad, plain)) - _grain(_residual(made, plain)))
        return float(np.sum(np.mean(grains, axis=0) ** 2))

    return [*min(trials, key=unlike)]


def _fitted(bad: Plane, clean: Plane, binning: int, rng: np.random.Generator) -> LowResolution:
    """Width and photons of one pair."""
    fine = [LowResolution(sigma=w, binning=binning) for w in _widths(LowResolution, "sigma", FINE)]
    still = min(fine, key=lambda trial: _misfit(bad, trial.apply(clean, rng)))
    return still.model_copy(update={"photons": _photons(bad, clean, still, rng)})


def _photons(
    bad: Plane, clean: Plane, still: LowResolution, rng: np.random.Generator
) -> float | None:
    """Photons whose noise leaves the misfit that the defective image has; None: less than any."""
    plain = still.apply(clean, rng)
    wanted = np.log(_misfit(bad, plain))
    trials = [still.model_copy(update={"photons": float(p)}) for p in PHOTONS]
    left = [np.log(_misfit(trial.apply(clean, rng), plain)) for trial in trials]
    if wanted < min(left):
        return None
    return float(PHOTONS[int(np.argmin(np.abs(np.array(left) - wanted)))])


def _residual(image: Plane, model: Plane) -> Plane:
    """What the model, fitted by gain and offset, leaves of an image."""
    x, y = model - model.mean(), image - image.mean()
    gain = float((x * y).mean()) / max(float((x * x).mean()), 1e-12)
    return np.asarray(y - gain * x, np.float32)


def _misfit(image: Plane, model: Plane) -> float:
    """Share of the image's variance that the model leaves."""
    left = float(_residual(image, model).var())
    return max(left / max(float(image.var()), 1e-12), 1e-9)


def _grain(residual: Plane) -> NDArray[np.float64]:
    """Autocorrelation of a residual at lags of 1 to GRAIN pixels."""
    whole = max(float((residual**2).mean()), 1e-12)
    lags = range(1, GRAIN + 1)
    down = [float((residual[lag:] * residual[:-lag]).mean()) for lag in lags]
    right = [float((residual[:, lag:] * residual[:, :-lag]).mean()) for lag in lags]
    return np.asarray((np.array(down) + np.array(right)) / 2 / whole)


def _widths(kind: type[Defect], name: str, count: int) -> list[float]:
    return [float(kind.ranges[name].value(k / (count - 1))) for k in range(count)]


def _integers(kind: type[Defect], name: str) -> range:
    return range(int(kind.ranges[name].low), int(kind.ranges[name].high) + 1)


def _middle(plane: NDArray[np.generic]) -> Plane:
    y, x = (max(0, (side - CROP) // 2) for side in plane.shape)
    return np.asarray(plane[y : y + CROP, x : x + CROP], np.float32)


def _normalised(plane: Plane) -> Plane:
    return percentile_map(plane).apply(plane)

"""The search for parameters of a defect, from unpaired clean and defective planes.

Crops of the clean planes are degraded with candidate parameters and compared with the defective
crops by the statistics of the defect's ``trace``:

====================  ==================================================================
statistic             what it identifies
====================  ==================================================================
log power spectra     blur, noise floor, binning: radial, and along each axis on its own
anisotropy            axial defects: axis 0 over axis 1, of the spectra and of the mean
                      square differences between pixels some way apart
row rhythm            the step of axial subsampling: autocorrelation of the curvature
noise curve           photons and read-out noise: noise variance against mean, blind,
                      its height and, apart, its shape
====================  ==================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from microscopygan.defects.statistics import Plane, check_planes

if TYPE_CHECKING:
    from microscopygan.defects.base import Defect

Planes = Sequence[NDArray[np.generic]]
D = TypeVar("D", bound="Defect")

SIMULATED = 16  # clean planes with the defect that noise is calibrated on
COMPOSITIONS = 24  # of a defect and noise, at least
CROP = 96  # pixels; the largest crop compared
SCREENED = 4  # the first round is judged on so many times fewer clean crops
ROUNDS = (0.15, 0.08, 0.04)  # size of the moves around the best candidates


def _crops(planes: Planes, size: int, rng: np.random.Generator, count: int) -> list[Plane]:
    """Up to `count` square crops from different planes, each the liveliest of three."""
    chosen = rng.permutation(len(planes))[:count]
    crops = []
    for index in np.resize(chosen, max(len(chosen), min(count, 4))):
        plane = np.asarray(planes[int(index)], dtype=np.float32)
        corners = [[int(rng.integers(side - size + 1)) for side in plane.shape] for _ in range(3)]
        trials = [plane[y : y + size, x : x + size] for y, x in corners]
        crops.append(max(trials, key=lambda crop: float(crop.std())))
    return crops


def search_parameters(
    kind: type[D],
    clean: Planes,
    defective: Planes,
    rng: np.random.Generator,
    *,
    candidates: int = 200,
    keep: int = 8,
) -> list[D]:
    """Find the parameters with which clean planes come to look like the defective ones.

    Random candidates first, then rounds of smaller and smaller moves around the best. The
    planes are unpaired; their content should be of the same sort. The scale and offset of the
    defective planes do not matter.

    Parameters
    ----------
    kind : type
        The defect; one that leaves no trace in unpaired planes is refused.
    clean : sequence of arrays, each (Y, X)
        Clean planes on a scale of about 0 to 1, at least 64 x 64 pixels.
    defective : sequence of arrays, each (Y, X)
        Defective planes on any scale, at least 64 x 64 pixels.
    rng : numpy.random.Generator
        Source of randomness.
    candidates : int
        Candidates in the first round, at least ``keep``; a third as many in the later ones.
    keep : int
        Number of parameter sets to return, at least 1.

    Returns
    -------
    list of ``kind``
        The ``keep`` best parameter sets, best first.

    Raises
    ------
    ValueError
        If the kind cannot be calibrated, a plane is unsuitable, or a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from microscopygan.defects.noise import Noise
    >>> from microscopygan.defects.specimens import nuclei
    >>> rng = np.random.default_rng(0)
    >>> clean = [nuclei((64, 64), rng) for _ in range(4)]
    >>> noisy = [Noise(photons=10).apply(plane, rng) for plane in clean]
    >>> len(search_parameters(Noise, clean, noisy, rng, candidates=8, keep=2))
    2
    """
    if (trace := kind.trace) is None:
        raise ValueError(
            f"expected a defect that shows in unpaired planes, got {kind.__name__}; draw its "
            "parameters with draw() instead"
        )
    if keep < 1 or candidates < keep:
        raise ValueError(
            f"expected candidates >= keep >= 1, got {candidates} and {keep}; raise candidates"
        )
    check_planes("clean", clean, 64)
    check_planes("defective", defective, 64)
    size = min(CROP, *(side for plane in [*clean, *defective] for side in np.shape(plane)))
    crops = _crops(clean, size, rng, trace.crops)
    target = trace.summary(_crops(defective, size, rng, trace.crops))
    seed = int(rng.integers(2**32))

    def distance(trial: D, images: int) -> float:
        noise = np.random.default_rng(seed)  # the same for every candidate
        degraded = [trial.apply(crop, noise) for crop in crops[:images]]
        return float(trace.distance(degraded, target))

    def ranked(trials: list[D], images: int) -> list[tuple[float, D]]:
        scores = [(distance(trial, images), trial) for trial in trials]
        return sorted(scores, key=lambda score: score[0])

    screened = ranked([kind.draw(rng) for _ in range(candidates)], trace.crops // SCREENED)
    best = ranked([trial for _, trial in screened[: 2 * keep]], trace.crops)
    moves = math.ceil(candidates / (3 * len(ROUNDS)))
    for scale in ROUNDS:
        parents = [trial for _, trial in best[:keep]]
        moved = ranked([parents[i % keep].jitter(rng, scale) for i in range(moves)], trace.crops)
        best = sorted([*best[:keep], *moved], key=lambda score: score[0])
    return [trial for _, trial in best[:keep]]


def calibrate_with_noise(
    kind: type[Defect], clean: Planes, defective: Planes, rng: np.random.Generator
) -> list[Defect]:
    """Calibrate a defect and, where its images are noisy besides, their noise.

    A restorer that has learned from simulated images without noise fails on real ones. The noise
    is what clean planes with the calibrated defect lack.

    Parameters
    ----------
    kind : type
        The defect.
    clean, defective : sequences of arrays, each (Y, X)
        As for :meth:`Defect.calibrate`.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    list of Defect
        Parameter sets of `kind`; where it is ``noisy``, compositions of one each and noise.
    """
    from microscopygan.defects import all_defects
    from microscopygan.defects.composition import Composition

    parameters = [*kind.calibrate(clean, defective, rng)]
    if not kind.noisy:
        return parameters
    some = [clean[i] for i in rng.permutation(len(clean))[:SIMULATED]]
    simulated = [parameters[i % len(parameters)].apply(p, rng) for i, p in enumerate(some)]
    noises = all_defects()["noise"].calibrate(simulated, defective, rng)
    return [
        Composition(steps=(item, noises[int(rng.integers(len(noises)))]))
        for item in parameters
        for _ in range(math.ceil(COMPOSITIONS / len(parameters)))
    ]

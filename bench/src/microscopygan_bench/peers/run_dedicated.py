"""Programs dedicated to stripes and to uneven light, with parameters that their makers suggest.

``python run_dedicated.py FOLDER``: ``job.json`` says which ``methods``, and along which axis the
stripes lie (``lines``, 0: rows); ``training.npz`` and ``test.npz`` hold ``images`` (N, Y, X).
``restored.npz`` gets an array for each method.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from job import Arrays, read_arrays, read_job, write_arrays

MU = ((0.17, 0.003), (0.1, 0.01))  # weights: destripe's page suggests, and for stronger stripes
ITERATIONS = 1000  # twice its default, at which it has not converged
WIDTHS = (2.0, 8.0)  # of the gap in the spectrum, in frequencies
LEVELS, WAVELET = 4, "db4"


def destriped(training: np.ndarray, test: np.ndarray) -> Arrays:
    """Take out vertical stripes by `destripe` (variational, Rottmayer)."""
    from destripe.core import UniversalStripeRemover

    low, high = (pick(test, axis=(1, 2), keepdims=True) for pick in (np.min, np.max))
    unit = ((test - low) / (high - low)).astype(np.float32)
    restored = {}
    for mu in MU:
        remover = UniversalStripeRemover(*mu, device="cpu")
        even = remover.process(unit, iterations=ITERATIONS).numpy()
        restored[f"destripe {mu[0]}, {mu[1]}"] = even * (high - low) + low
    return restored


def without_stripes(plane: np.ndarray, width: float) -> np.ndarray:
    """Take out vertical stripes by wavelets and Fourier transforms (Münch et al. 2009).

    Stripes are constant along axis 0: in the details of vertical edges they lie at its lowest
    frequencies, which are damped there.
    """
    import pywt

    rough, *details = pywt.wavedec2(plane, WAVELET, "symmetric", LEVELS)
    damped = []
    for across, along, diagonal in details:
        frequency = np.fft.fftfreq(along.shape[0], 1 / along.shape[0])[:, None]
        gap = 1 - np.exp(-(frequency**2) / (2 * width**2))
        kept = np.fft.ifft(np.fft.fft(along, axis=0) * gap, axis=0).real
        damped.append((across, kept, diagonal))
    even = pywt.waverec2([rough, *damped], WAVELET, "symmetric")
    return np.asarray(even[: plane.shape[0], : plane.shape[1]])


def wavelets(training: np.ndarray, test: np.ndarray) -> Arrays:
    """Take out vertical stripes, by gaps of several widths."""
    return {
        f"wavelet-FFT, width {width:g}": np.stack([without_stripes(p, width) for p in test])
        for width in WIDTHS
    }


def basic(training: np.ndarray, test: np.ndarray) -> Arrays:
    """Even the light by BaSiC, its fields measured on the training images."""
    from basicpy import BaSiC

    restored = {}
    for name, dark in (("BaSiC", False), ("BaSiC with dark field", True)):
        model = BaSiC(get_darkfield=dark)
        model.fit(training)
        restored[name] = np.asarray(model.transform(test))
    return restored


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], Arrays]] = {
    "destripe": destriped,
    "wavelet": wavelets,
    "basic": basic,
}


def main(folder: Path) -> None:
    """Do the job of a folder."""
    job = read_job(folder)
    sides = (read_arrays(folder / f"{name}.npz")["images"] for name in ("training", "test"))
    training, test = (side.swapaxes(1, 2) if job["lines"] == 0 else side for side in sides)
    restored: Arrays = {}
    for name in job["methods"]:
        restored |= METHODS[name](training, test)
    turned = {n: a.swapaxes(1, 2) if job["lines"] == 0 else a for n, a in restored.items()}
    write_arrays(folder / "restored.npz", turned)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

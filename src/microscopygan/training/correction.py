"""CIN-GAN as a corrector: the code a defect starts from, and whether its correction is kept.

Of a defect's unpaired images some are held back. A correction is kept where it brings synthetic
images nearer to those than the simulated images are; else the defect is left as it is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..defects.statistics import normalised
from ..gan.cin_gan import synthesize
from ..gan.losses import image_statistics, statistics_distance, unpaired_distance
from ..gan.networks import Corrector, fast_arithmetic
from ..settings import Settings
from .batches import DefectBatches, crop, draw_simulated
from .split import Split, to_judge

_TRIED = 32  # codes of virtual laboratories that a defect may start from
_FIELDS, _SIDE = 6, 64  # images that each is tried on, and their side in pixels
_NEARER = 0.75  # of the distance of what is simulated, at most, to start from a code
_COMPARED = 24  # synthetic images that a correction is judged by
_RESAMPLED = 200  # times that the real and the synthetic images are drawn anew
_SURE = 0.9  # share of those in which the corrected images have to be nearer


@torch.no_grad()
def start_codes(generator: Corrector, split: Split, settings: Settings, first: int = 0) -> None:
    """Start each defect of a split from the virtual laboratory that is most like it, or from none.

    None is better unless it is clearly nearer: few images tell by chance as well.

    Parameters
    ----------
    generator
        Its rows are those of the defects; `first` is the index of the split's first one.
    split
        Clean and defective images, and physics.
    settings
        Sizes and seed.
    """
    codes = torch.cat((torch.zeros_like(generator.code[:1]), generator.laboratories[:_TRIED]))
    side = min(_SIDE, settings.defects.patch)
    few = settings.changed({"defects.batch": _FIELDS, "defects.patch": side})
    for number, name in enumerate(split.defects):
        batch = DefectBatches(split, few).of(
            name, np.random.default_rng([settings.seed, 8, number])
        )
        simulated, real = (torch.from_numpy(batch[part]) for part in ("simulated", "real"))
        rng = torch.Generator().manual_seed(settings.seed)
        noise = generator.draw_noise(simulated, rng)
        rows = torch.zeros((_FIELDS, generator.rows.shape[1]))
        apart = []
        for code in codes:
            with fast_arithmetic(simulated.device):
                image = generator.correct(simulated, noise, code.expand(_FIELDS, -1), rows)
            apart.append(unpaired_distance(image.float(), real))
        nearest = int(torch.stack(apart).argmin())
        if apart[nearest] < _NEARER * apart[0]:
            generator.code[first + number] = codes[nearest]


@dataclass(frozen=True)
class Comparison:
    """How far synthetic images are from real ones held back, without and with a correction.

    Attributes
    ----------
    simulated, corrected
        Distances, see `unpaired_distance`; 0 for images of the same kind.
    sure
        Share of resamplings in which the corrected images are nearer.
    """

    simulated: float
    corrected: float
    sure: float

    @property
    def kept(self) -> bool:
        """Whether the correction is kept."""
        return self.sure >= _SURE and self.corrected < self.simulated


@torch.no_grad()
def compare(
    generator: Corrector, split: Split, settings: Settings, name: str, index: int
) -> Comparison:
    """Compare the images of a defect, simulated and corrected, with real ones held back.

    Parameters
    ----------
    generator
        A trained one.
    split
        Clean and defective images, and physics.
    settings
        Sizes and seed.
    name
        Of the defect.
    index
        That the generator has it under.
    """
    rng = np.random.default_rng([settings.seed, 9, index])
    side, judges = settings.defects.patch, to_judge(split.defective[name])
    which = np.full(_COMPARED, split.defects.index(name))
    sampling = settings.sampling.model_copy(update={"zoomed": 0.0})
    drawn, _ = draw_simulated(split, which, side, rng, sampling)
    simulated = np.stack(drawn).astype(np.float32)
    noise = torch.Generator().manual_seed(settings.seed)
    corrected = synthesize(generator, simulated, index, noise)
    origin = np.arange(_COMPARED) % len(judges)
    real = np.stack([crop([judges[k]], side, rng)[0] for k in origin])
    sets = [_tensor(planes) for planes in (simulated, corrected, real)]
    apart = [float(unpaired_distance(part, sets[2])) for part in sets[:2]]
    before, after, wanted = (image_statistics(part) for part in sets)
    nearer = []
    for _ in range(_RESAMPLED):
        images = rng.integers(len(judges), size=len(judges))
        some = wanted[np.concatenate([np.flatnonzero(origin == k) for k in images])]
        mine = rng.integers(_COMPARED, size=_COMPARED)
        distances = [statistics_distance(part[mine], some) for part in (before, after)]
        nearer.append(bool(distances[1] < distances[0]))
    return Comparison(apart[0], apart[1], float(np.mean(nearer)))


def _tensor(planes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack([normalised(plane) for plane in planes]))[:, None]


@torch.no_grad()
def keep_corrections(
    generator: Corrector, split: Split, settings: Settings, first: int = 0
) -> dict[str, Comparison]:
    """Take the corrections of a split's defects back that are not kept; return all comparisons."""
    compared = {}
    for index, name in enumerate(split.defects, first):
        compared[name] = compare(generator, split, settings, name, index)
        if not compared[name].kept:
            generator.code[index] = 0
            generator.rows[index] = 0
    return compared

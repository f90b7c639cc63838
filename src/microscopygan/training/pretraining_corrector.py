"""CIN-GAN's pre-training on virtual laboratories: its shared weights, taught once for all defects.

There the same clean image exists with the defect and with a poorer guess of it, with the same
noise where both have it. The generator learns to draw the one from the other (energy score, no
critic), told by a code what the guess lacks. The code comes from a small network that knows the
defect; it is left behind. A new defect later finds its code from unpaired images alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..defects.base import Defect
from ..defects.composition import Composition
from ..diagnosis.parameters import STAGES, parameters
from ..gan.cin_gan import save_defects
from ..gan.losses import energy_score
from ..gan.networks import Corrector, fast_arithmetic, place
from ..image.intensity import percentile_map
from ..settings import GeneratorArchitecture
from .laboratories import Specimens, draw_defect, positions
from .loop import Average
from .pretraining import pace
from .run_folder import write_json

ARCHITECTURE = GeneratorArchitecture(network="dilated", channels=48, blocks=4)
_WARM_UP, _LAST = 100, 0.02  # steps in which the rate rises; what is left of it at the end
_LOGGED = 5.0  # seconds between two lines of the log
_IMAGES = 3  # of each laboratory
_TIMES = 2  # that a batch is learned from: drawing it takes longer (Choi et al. 2019)
_EMA = 0.998  # decay of the averaged weights a step
_BLUR = 0.05  # spread of what is added to a code, so that codes in between mean something
_SMALL = 1e-3  # weight of the mean square of codes
_DROPPED = (0.2, 0.55, 0.25)  # shares of guesses that lack none, one, two stages


class Drafts(NamedTuple):
    """Images of one virtual laboratory, each on its own scale, and of a poorer guess of it.

    Attributes
    ----------
    simulated, defective
        (N, Y, X) float32: clean images with the guess, and with the defect.
    lacks
        (labels,) float32: what the guess lacks, see `lacks`.
    """

    simulated: np.ndarray
    defective: np.ndarray
    lacks: np.ndarray


def draw_drafts(
    specimens: Specimens,
    count: int,
    rng: np.random.Generator,
    without: Collection[str] = (),
    lacking: str | None = None,
) -> Drafts:
    """Draw the images of a laboratory with its defect, and with a poorer guess of it.

    Parameters
    ----------
    specimens
        Clean planes.
    count
        Number of images.
    rng
        Source of all draws.
    without
        Stages that the defect does not have.
    lacking
        The only stage that the guess lacks; any where not given.
    """
    defect = _drawn(rng, without, lacking)
    guess = poorer(defect, rng)
    if lacking is not None:
        guess = [step for step in defect.steps if step.name != lacking]
    rows = []
    for plane in specimens.draw(count, rng):
        seed = int(rng.integers(2**62))
        planes = [apply_alike(steps, plane, seed) for steps in (guess, defect.steps)]
        rows.append([percentile_map(p).apply(p).astype(np.float32) for p in planes])
    simulated, defective = (np.stack(column) for column in zip(*rows, strict=True))
    return Drafts(simulated, defective, lacks(defect, guess))


def _drawn(rng: np.random.Generator, without: Collection[str], lacking: str | None) -> Composition:
    """Draw a defect of the stages that it may have, with the one that it has to have."""
    while True:
        defect = draw_defect(rng)
        names = {step.name for step in defect.steps} if defect is not None else set()
        if defect is not None and not names & set(without) and names >= {lacking or min(names)}:
            return defect


def poorer(defect: Composition, rng: np.random.Generator) -> list[Defect]:
    """Draw a guess of a defect: up to two of its stages missing, the others a little beside."""
    steps = list(defect.steps)
    for _ in range(rng.choice(len(_DROPPED), p=_DROPPED)):
        if steps:
            del steps[rng.integers(len(steps))]
    beside = 0.12 if len(steps) == len(defect.steps) else rng.choice((0.0, 0.05))
    return [step.jitter(rng, beside) if beside else step for step in steps]


class _SamePhotons(np.random.Generator):
    """Draws photons that differ little where their expected numbers do, for the same seed.

    NumPy's own draws are all others as soon as one pixel expects others. Normal draws are turned
    into those of Poisson's law (Cornish & Fisher 1938), to about a tenth of a photon.
    """

    def poisson(self, lam: np.ndarray, size: tuple[int, ...] | None = None) -> np.ndarray:  # type: ignore[override]
        """Draw numbers of photons of the shape of their expected numbers."""
        normal = self.standard_normal(np.shape(lam) if size is None else size)
        drawn = lam + normal * np.sqrt(lam) + (normal**2 - 1) / 6
        return np.where(np.asarray(lam) > 0.01, np.maximum(np.rint(drawn), 0), 0)


def apply_alike(steps: Sequence[Defect], plane: np.ndarray, seed: int) -> np.ndarray:
    """Apply stages, each with randomness of its own: a stage of the same seed draws the same."""
    for step in steps:
        source = np.random.PCG64([seed, STAGES.index(step.name)])
        plane = step.apply(plane, _SamePhotons(source))
    return plane


def lacks(defect: Composition, guess: Sequence[Defect]) -> np.ndarray:
    """Return what a guess of a defect lacks: all 0 where it is the defect.

    For each stage 1 where it is missing; for each parameter where it lies, -1 to 1, of a stage
    that is missing; and how far beside it lies, of one that is there.
    """
    truth = positions(defect)
    guessed = positions(Composition(steps=tuple(guess)) if guess else None)
    absent = np.isfinite(truth) & ~np.isfinite(guessed)
    stages = np.array([item.stage for item in parameters()])
    missing = [absent[stages == name].any() for name in STAGES]
    where = np.where(absent, 2 * np.nan_to_num(truth) - 1, 0.0)
    beside = 5 * np.nan_to_num(truth - guessed)
    return np.concatenate([missing, where, beside]).astype(np.float32)


class Coder(nn.Module):
    """What a guess lacks, as labels (B, labels), to a code (B, codes); 0 to 0."""

    def __init__(self, labels: int, codes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(labels, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, codes)
        )

    def forward(self, labels: Tensor) -> Tensor:
        """Return codes of about unit size."""
        return 8 * (self.layers(labels) - self.layers(torch.zeros_like(labels[:1])))  # type: ignore[no-any-return]


class _Stream(IterableDataset[dict[str, Tensor]]):
    """Batches of so many laboratories with some images each, others in each worker, no end."""

    def __init__(
        self, specimens: Specimens, laboratories: int, seed: int, without: Collection[str]
    ) -> None:
        self.specimens, self.laboratories, self.seed = specimens, laboratories, seed
        self.without = without

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            yield _batch(
                [
                    draw_drafts(self.specimens, _IMAGES, rng, self.without)
                    for _ in range(self.laboratories)
                ]
            )


def _batch(drawn: Sequence[Drafts]) -> dict[str, Tensor]:
    """Stack the images of laboratories, (B, 1, Y, X), and what each lacks, (B, labels)."""
    images = {
        name: torch.from_numpy(np.concatenate([getattr(d, name) for d in drawn]))[:, None]
        for name in ("simulated", "defective")
    }
    labels = [np.tile(d.lacks, (len(d.simulated), 1)) for d in drawn]
    return images | {"lacks": torch.from_numpy(np.concatenate(labels))}


def pretrain_corrector(
    specimens: Specimens,
    run: Path,
    seconds: float,
    *,
    architecture: GeneratorArchitecture = ARCHITECTURE,
    laboratories: int = 12,
    workers: int = 8,
    rate: float = 2e-3,
    seed: int = 0,
    device: str = "cpu",
    without: Collection[str] = (),
    tried: int = 12,
) -> Corrector:
    """Train CIN-GAN's shared weights for a time.

    Parameters
    ----------
    specimens
        Clean planes.
    run
        Gets ``defects.safetensors``, ``log.jsonl`` and ``held_out.json``.
    seconds
        Of the training; trying the result takes some more.
    architecture
        Of the generator.
    laboratories
        In a batch, three images of each.
    workers
        Processes that draw them; 0: this one.
    rate
        Peak learning rate.
    seed
        Of weights and draws.
    device
        As PyTorch names it.
    without
        Stages that no laboratory has.
    tried
        Laboratories of each stage that the result is tried on.
    """
    begun = time.perf_counter()
    run.mkdir(parents=True, exist_ok=True)
    stream = _Stream(specimens, laboratories, seed, without)
    ahead = {"prefetch_factor": 4, "persistent_workers": True} if workers else {}
    batches = DataLoader(stream, batch_size=None, num_workers=workers, **ahead)  # type: ignore[arg-type]
    training = _Training(architecture, seed, torch.device(device))
    shown, scores, log = begun, [], run / "log.jsonl"
    for step, batch in enumerate(batch for batch in batches for _ in range(_TIMES)):
        now = time.perf_counter()
        if now - begun > seconds:
            break
        part = (now - begun) / seconds
        scores.append(training.step(batch, rate * pace(step, part, _WARM_UP, _LAST)))
        if now - shown > _LOGGED:
            row = {"step": step, "seconds": round(now - begun, 1)}
            _log(log, row | {"score": float(torch.stack(scores).mean())})
            shown, scores = now, []
    generator = training.result(specimens, seed, without)
    write_json(run / "held_out.json", training.held_out(specimens, seed, without, tried))
    save_defects(run / "defects.safetensors", generator, ())
    return generator


def _log(path: Path, row: dict[str, float]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


class _Training:
    """Generator and coder, their averages, and their step."""

    def __init__(self, architecture: GeneratorArchitecture, seed: int, device: torch.device):
        torch.manual_seed(seed)
        labels = len(STAGES) + 2 * len(parameters())
        self.generator = place(Corrector(architecture, 0), device)
        self.coder = Coder(labels, architecture.codes).to(device)
        shared = [p for n, p in self.generator.named_parameters() if n not in ("code", "rows")]
        self.weights = [*shared, *self.coder.parameters()]
        self.optimizer = torch.optim.AdamW(self.weights, betas=(0.9, 0.98), weight_decay=1e-4)
        self.averages = Average(self.generator, _EMA), Average(self.coder, _EMA)
        self.rng = torch.Generator(device).manual_seed(seed)
        self.device, self.steps = device, 0

    def step(self, batch: dict[str, Tensor], rate: float) -> Tensor:
        """Update both once; return the energy score."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        code, score = self.score(self.generator, self.coder, batch, _BLUR)
        loss = score + _SMALL * code.pow(2).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        for average, network in zip(self.averages, (self.generator, self.coder), strict=True):
            average.update(network, self.steps)
        self.steps += 1
        return score.detach()

    def score(
        self, generator: Corrector, coder: nn.Module, batch: dict[str, Tensor], blur: float
    ) -> tuple[Tensor, Tensor]:
        """Return the codes of a batch and its energy score, of codes moved by `blur` at random."""
        x, y, labels = (batch[n].to(self.device) for n in ("simulated", "defective", "lacks"))
        code = coder(labels)
        moved = code + blur * torch.randn(code.shape, generator=self.rng, device=self.device)
        rows = torch.zeros((len(x), generator.map.shape[1]), device=self.device)
        with fast_arithmetic(self.device):
            draws = [
                generator.correct(x, generator.draw_noise(x, self.rng), moved, rows).float()
                for _ in range(2)
            ]
        return code, energy_score(draws[0], draws[1], y, x)

    @torch.no_grad()
    def result(self, specimens: Specimens, seed: int, without: Collection[str]) -> Corrector:
        """Return the averaged generator with codes of some laboratories."""
        generator, coder = (average.network for average in self.averages)
        assert isinstance(generator, Corrector)
        rng = np.random.default_rng([seed, 1000])
        drawn = [draw_drafts(specimens, 1, rng, without) for _ in generator.laboratories]
        generator.laboratories.copy_(coder(_batch(drawn)["lacks"].to(self.device)))
        return generator

    @torch.no_grad()
    def held_out(
        self, specimens: Specimens, seed: int, without: Collection[str], tried: int
    ) -> dict[str, list[float]]:
        """Return energy scores, stage by stage, of laboratories whose guess lacks just that.

        The generator's, and the guess's own.
        """
        generator, coder = (average.network for average in self.averages)
        assert isinstance(generator, Corrector)
        rng, scores = np.random.default_rng([seed, 1001]), {}
        for name in STAGES:
            if name not in without:
                drawn = [draw_drafts(specimens, _IMAGES, rng, without, name) for _ in range(tried)]
                batch = _batch(drawn)
                x, y = batch["simulated"], batch["defective"]
                score = self.score(generator, coder, batch, 0.0)[1]
                scores[name] = [round(float(v), 3) for v in (score, energy_score(x, x, y, x))]
        return scores

"""Stage one, CIN-GAN: unpaired, from clean images to each kind of defective ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from ..settings import DefectSettings, GeneratorArchitecture, architecture_from_saved
from .checkpoints import read_network, write_tensors
from .losses import (
    GENERATOR_TERMS,
    Generated,
    critic_loss,
    diff_augment,
    gradient_penalty,
    measure,
    r1_penalty,
    weight_of,
)
from .networks import (
    DefectCritic,
    DefectGenerator,
    build_generator,
    defect_rows,
    fast_arithmetic,
    place,
)
from .step import update

_CODE_FASTER = 10.0  # rate of a code, which is of about unit size, over that of the other rows


class CinGan:
    """Generator and critic of stage one, and their step; no critic where it has no weight.

    Parameters
    ----------
    settings
        Networks and loss weights.
    defects
        Names of the defects, in the order of their indices.
    accelerator
        Device and processes.
    seed
        Seed of the weights.
    start
        A trained generator that has rows for all of `defects`, to go on from: those of its weights
        train that require gradients. None: random weights, all of which do.
    """

    product = "generator"

    def __init__(
        self,
        settings: DefectSettings,
        defects: Sequence[str],
        accelerator: Accelerator,
        seed: int,
        start: DefectGenerator | None = None,
    ) -> None:
        self.settings, self.defects, self.accelerator = settings, tuple(defects), accelerator
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            generator = start or build_generator(settings.architecture, len(defects))
            critic = DefectCritic(len(defects))
        device = accelerator.device
        self.networks: dict[str, nn.Module] = {"generator": place(generator, device)}
        betas = (0.5, 0.9)
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "generator": torch.optim.Adam(_groups(generator, settings), betas=betas)
        }
        if settings.adversarial_weight > 0:
            self.networks["critic"] = place(critic, device)
            self.optimizers["critic"] = torch.optim.Adam(critic.parameters(), betas=betas)

    def step(self, batch: dict[str, Tensor], rng: torch.Generator, step: int) -> dict[str, float]:
        """One update of the critic (or several) and one of the generator.

        The batch holds ``clean``, ``simulated``, ``real`` (B, 1, Y, X) and ``defect`` (B,).
        """
        losses: dict[str, float] = {}
        for _ in range(self.settings.critic_steps if "critic" in self.networks else 0):
            losses = self._critic_step(batch, rng, step)
        return losses | self._generator_step(batch, rng)

    def _generated(self, batch: dict[str, Tensor], rng: torch.Generator) -> Tensor:
        simulated, generator = batch["simulated"], self.networks["generator"]
        noise = generator.draw_noise(simulated, rng)  # type: ignore[operator]
        with fast_arithmetic(noise.device):
            image: Tensor = generator(simulated, noise, batch["defect"])
        return image.float()

    def _seen(self, image: Tensor, rng: torch.Generator) -> Tensor:
        return diff_augment(image, rng) if self.settings.augment else image

    def _critic_step(
        self, batch: dict[str, Tensor], rng: torch.Generator, step: int
    ) -> dict[str, float]:
        critic, s, defect = self.networks["critic"], self.settings, batch["defect"]
        with torch.no_grad():
            fake = self._seen(self._generated(batch, rng), rng)
        real = self._seen(batch["real"], rng)
        scores_real, scores_fake = critic(real, defect), critic(fake, defect)
        loss = critic_loss(s.adversarial, scores_real, scores_fake)
        losses = {"critic": loss.item(), "gap": (scores_real.mean() - scores_fake.mean()).item()}
        if s.adversarial == "wgan-gp":
            mix = torch.rand((len(real), 1, 1, 1), generator=rng, device=real.device)
            penalty = gradient_penalty(lambda x: critic(x, defect), real, fake, mix)
            loss = loss + s.penalty * penalty
        elif step % s.penalty_every == 0:  # with as many times its weight (lazy regularisation)
            slope = r1_penalty(lambda x: critic(x, defect), real)
            loss = loss + s.penalty_every * s.penalty / 2 * slope
        update(critic, self.optimizers["critic"], loss, self.accelerator)
        return losses

    def _generator_step(self, batch: dict[str, Tensor], rng: torch.Generator) -> dict[str, float]:
        generator = self.networks["generator"]
        defect = batch["defect"]
        fake = self._generated(batch, rng)
        images = Generated(
            fake,
            batch["clean"],
            batch["real"],
            defect,
            self.settings,
            lambda image: self.networks["critic"](self._seen(image, rng), defect),
        )
        terms = {
            name: weight_of(name, self.settings) * term
            for name, term in measure(GENERATOR_TERMS, images).items()
        }
        total = torch.stack(list(terms.values())).sum()
        update(generator, self.optimizers["generator"], total, self.accelerator)
        return dict.fromkeys(GENERATOR_TERMS, 0.0) | {k: term.item() for k, term in terms.items()}

    def pictures(self, batch: dict[str, Tensor], rng: torch.Generator) -> Tensor:
        """Rows of clean, simulated, synthetic, real (of another image), one row a sample."""
        columns = (batch["clean"], batch["simulated"], self._generated(batch, rng), batch["real"])
        return torch.cat(columns, 1)[:8]


def _groups(generator: DefectGenerator, settings: DefectSettings) -> list[dict[str, Any]]:
    """Return what trains in groups: the shared weights, the rows, and codes, each faster."""
    names, faster = defect_rows(generator), (settings.row_rate or 0) / settings.learning_rate
    trained = {n: p for n, p in generator.named_parameters() if p.requires_grad}
    codes = [p for n, p in trained.items() if n == "code"]
    rows = [p for n, p in trained.items() if n in names and n != "code"]
    shared = [p for n, p in trained.items() if n not in names]
    faster = faster or 1.0
    return [
        {"params": shared},
        {"params": rows, "faster": faster},
        {"params": codes, "faster": _CODE_FASTER * faster},
    ]


def save_defects(path: Path, generator: DefectGenerator, defects: Sequence[str]) -> None:
    """Write a generator, its architecture and the names of its defects, whole or not at all."""
    architecture = generator.architecture.model_dump(mode="json")
    about = {"defects": list(defects), "architecture": architecture}
    write_tensors(path, generator.state_dict(), about)


def load_defects(path: Path) -> tuple[DefectGenerator, tuple[str, ...]]:
    """Read what `save_defects` wrote: the generator and the names of its defects.

    An earlier version kept all settings with the weights.

    Raises
    ------
    ValueError
        Damaged file, another format version or another architecture.
    """
    about, generator = read_network(path, "a CIN-GAN generator", _build)
    return generator.eval().requires_grad_(False), tuple(about["defects"])


def _build(about: dict[str, Any]) -> DefectGenerator:
    architecture = architecture_from_saved(GeneratorArchitecture, about)
    return build_generator(architecture, len(about["defects"]))


@torch.no_grad()
def synthesize(
    generator: DefectGenerator, simulated: np.ndarray, defect: int, rng: torch.Generator
) -> np.ndarray:
    """Put a defect into planes, another draw at every call.

    Parameters
    ----------
    generator
        A trained generator.
    simulated
        (N, Y, X) float32 on about 0..1: clean planes, with the defect's physics where the
        generator was trained on simulated images.
    defect
        Index of the defect.
    rng
        Source of the noise maps.

    Returns
    -------
    numpy.ndarray
        (N, Y, X) float32 on about 0..1.
    """
    device = next(generator.parameters()).device
    _, height, width = simulated.shape
    padding = (0, -width % 4, 0, -height % 4)
    x = F.pad(torch.from_numpy(simulated).to(device)[:, None], padding, mode="replicate")
    which = torch.full((len(x),), defect, device=device)
    image: Tensor = generator(x, generator.draw_noise(x, rng), which)
    return image[:, 0, :height, :width].cpu().numpy()

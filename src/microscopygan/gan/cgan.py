"""Stage two, cGAN: paired, from defective images to restored ones, blind but for hints.

The loss is the sum of `losses.RESTORER_TERMS`; a term of weight 0 is not computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from ..settings import RestorerArchitecture, RestorerSettings, architecture_from_saved
from .checkpoints import read_network, write_tensors
from .losses import RESTORER_TERMS, Restored, critic_loss, fit_affine, measure, weight_of
from .networks import (
    DefectGenerator,
    ResNetRestorer,
    UNetRestorer,
    build_discriminator,
    build_restorer,
    fast_arithmetic,
    place,
)
from .step import update


class CGan:
    """Restorer and discriminator of stage two, and their step.

    Parameters
    ----------
    settings
        Networks and loss weights.
    accelerator
        Device and processes.
    seed
        Seed of the weights.
    generator
        CIN-GAN's generator, which corrects the simulated images of synthetic pairs; None where
        none is to be corrected.
    start
        A trained restorer to go on from; one with random weights where not given.
    """

    product = "restorer"

    def __init__(
        self,
        settings: RestorerSettings,
        accelerator: Accelerator,
        seed: int,
        generator: DefectGenerator | None = None,
        start: nn.Module | None = None,
    ) -> None:
        self.settings, self.accelerator = settings, accelerator
        device = accelerator.device
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            restorer = place(
                build_restorer(settings.architecture) if start is None else start, device
            )
            discriminator = place(build_discriminator(settings), device)
        self.generator = place(generator, device) if generator is not None else None
        self.networks: dict[str, nn.Module] = {
            "restorer": restorer,
            "discriminator": discriminator,
        }
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "restorer": torch.optim.Adam(restorer.parameters(), betas=(0.9, 0.99)),
            "discriminator": torch.optim.Adam(discriminator.parameters(), betas=(0.5, 0.9)),
        }

    def pair(self, batch: dict[str, Tensor], rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return (defective, clean), both (B, 1, Y, X), after CIN-GAN's corrections."""
        image, target = batch["input"], batch["target"]
        which = batch["corrected"].nonzero()[:, 0]
        if self.generator is None or len(which) == 0:
            return image, target
        simulated = image[which]
        noise = self.generator.draw_noise(simulated, rng)
        with torch.no_grad():
            corrected = self.generator(simulated, noise, batch["defect"][which])
            fitted = match_coarse(target[which], corrected, self.settings.fit_scale)
        image, target = image.clone(), target.clone()
        image[which], target[which] = corrected, fitted
        return image, target

    def step(self, batch: dict[str, Tensor], rng: torch.Generator, step: int) -> dict[str, float]:
        """One update of the discriminator, once it counts, and one of the restorer.

        The batch holds ``input``, ``target`` (B, 1, Y, X), ``defect`` and ``corrected`` (B,),
        and ``hint`` (B, hints).
        """
        image, target = self.pair(batch, rng)
        adversarial = (
            self.settings.adversarial_weight > 0
            and step >= self.settings.adversarial_start * self.settings.steps
        )
        losses = {"discriminator": 0.0}
        with fast_arithmetic(image.device):
            restored = self.networks["restorer"](image, batch["hint"])
        if adversarial:
            losses = self._discriminator_step(image, target, restored.detach())
        return losses | self._restorer_step(image, target, restored, adversarial)

    def _discriminator_step(
        self, image: Tensor, target: Tensor, restored: Tensor
    ) -> dict[str, float]:
        discriminator = self.networks["discriminator"]
        real, fake = discriminator(target, image), discriminator(restored, image)
        loss = critic_loss(self.settings.adversarial, real, fake)
        update(discriminator, self.optimizers["discriminator"], loss, self.accelerator)
        return {"discriminator": loss.item()}

    def _restorer_step(
        self, image: Tensor, target: Tensor, restored: Tensor, adversarial: bool
    ) -> dict[str, float]:
        discriminator = self.networks["discriminator"]
        images = Restored(restored, target, self.settings, lambda x: discriminator(x, image))
        terms = measure(RESTORER_TERMS, images, leave_out="" if adversarial else "adversarial")
        total = restored.new_zeros(())
        for name, term in terms.items():
            total = total + weight_of(name, self.settings) * term
        update(self.networks["restorer"], self.optimizers["restorer"], total, self.accelerator)
        return dict.fromkeys(RESTORER_TERMS, 0.0) | {k: term.item() for k, term in terms.items()}

    def pictures(self, batch: dict[str, Tensor], rng: torch.Generator) -> Tensor:
        """Rows of defective, restored, clean, one row a sample."""
        image, target = self.pair(batch, rng)
        restored = self.networks["restorer"](image, batch["hint"])
        return torch.cat((image, restored, target), 1)[:8]


def match_coarse(target: Tensor, reference: Tensor, scale: int) -> Tensor:
    """Fit gain and offset of each target to its reference on averages of `scale`² pixels.

    CIN-GAN may shift the intensities of an image a little; its clean target follows, so that
    the restorer learns to keep the scale of its input. (B, 1, Y, X) to the same.
    """
    x, y = (F.avg_pool2d(planes, scale).flatten(1) for planes in (target, reference))
    gain, x_mean, y_mean = (v[:, :, None, None] for v in fit_affine(x, y, prior=1e-3))
    return gain.clamp(0.5, 2.0) * (target - x_mean) + y_mean


def save_restorer(path: Path, network: UNetRestorer | ResNetRestorer) -> None:
    """Write a restorer's weights with its architecture, whole or not at all."""
    architecture = network.architecture.model_dump(mode="json")
    write_tensors(path, network.state_dict(), {"architecture": architecture})


def load_restorer(path: Path) -> UNetRestorer | ResNetRestorer:
    """Read what `save_restorer` wrote; an earlier version kept all settings there.

    Raises
    ------
    ValueError
        Damaged file, another format version or another architecture.
    """
    return read_network(path, "the weights of a restorer", _build)[1]


def _build(about: dict[str, Any]) -> UNetRestorer | ResNetRestorer:
    return build_restorer(architecture_from_saved(RestorerArchitecture, about))

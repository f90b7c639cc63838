"""What ships is trained here, on virtual laboratories: restorers and the encoder of a diagnosis.

All of them learn from the same laboratories at the same time, for as long as they are given; the
learning rate falls to the end of that time. A pre-training that was interrupted goes on where it
last saved.
"""

from __future__ import annotations

import copy
import csv
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..defects import all_defects
from ..defects.statistics import noisiness
from ..diagnosis.parameters import STAGES
from ..gan.networks import UNetRestorer, fast_arithmetic, place
from ..image.intensity import percentile_map
from ..settings import LaboratorySettings, PretrainingSettings
from .batches import resized
from .laboratories import Specimens, draw_laboratory
from .loop import Average, load_state, save_state
from .set_encoder import SetEncoder, encoder_loss

Tensors = dict[str, Tensor]
_LOG = "log.csv"


def quiet_fields(
    plane: np.ndarray, settings: PretrainingSettings | None = None
) -> list[np.ndarray]:
    """Cut a clean image, at several scales, into square fields that are free of noise.

    A field of nothing but background would make noise a structure to restore.
    """
    settings = settings or PretrainingSettings()
    side, plane = settings.field, percentile_map(plane).apply(plane)
    fields = []
    for scale in settings.scales:
        smaller = resized(plane, scale)
        starts = (range(0, length - side + 1, side * 3 // 4) for length in smaller.shape)
        for y, x in itertools.product(*starts):
            field = smaller[y : y + side, x : x + side]
            if noisiness(field) < settings.noisiest:
                fields.append(np.asarray(field, np.float32))
    return fields


def sorts_of(
    planes: Sequence[np.ndarray], settings: PretrainingSettings | None = None
) -> list[list[np.ndarray]]:
    """Return the quiet fields of each clean image, for `Specimens`; images without are left out."""
    return [fields for plane in planes if (fields := quiet_fields(plane, settings))]


class LaboratoryBatches(IterableDataset):  # type: ignore[type-arg]
    """Laboratories without end for a `DataLoader`, whose workers draw different ones."""

    def __init__(
        self, specimens: Specimens, settings: LaboratorySettings, seed: int, first: int = 0
    ) -> None:
        self.specimens, self.settings, self.seed, self.first = specimens, settings, seed, first

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the arrays of a `Laboratory` by name."""
        info = get_worker_info()
        torch.set_num_threads(1)
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        for index in itertools.count(self.first + start, step):
            rng = np.random.default_rng([self.seed, index])
            yield draw_laboratory(self.specimens, self.settings, rng)._asdict()


def loader(
    specimens: Specimens,
    settings: PretrainingSettings,
    laboratory: LaboratorySettings,
    seed: int,
    first: int = 0,
) -> DataLoader:  # type: ignore[type-arg]
    """Return batches of laboratories, (L, …) tensors by name, drawn by several processes."""
    return DataLoader(
        LaboratoryBatches(specimens, laboratory, seed, first),
        batch_size=settings.laboratories,
        num_workers=settings.workers,
        prefetch_factor=4 if settings.workers else None,
        pin_memory=torch.cuda.is_available(),
    )


def pace(step: int, progress: float, warm_up: int, last: float) -> float:
    """Return the rate over its peak: up in a line, then down in a cosine of the time.

    Parameters
    ----------
    step
        From 0.
    progress
        Part of the time that is over, 0 to 1.
    warm_up
        Steps in which it rises.
    last
        What is left of it at the end, 0 to 1.

    Examples
    --------
    >>> pace(0, 0.0, 4, 0.1), pace(9, 0.5, 4, 0.1), pace(9, 1.0, 4, 0.1)
    (0.25, 0.5, 0.1)
    """
    return min(1, (step + 1) / warm_up) * max(0.5 * (1 + math.cos(math.pi * progress)), last)


class Pupil:
    """A network in pre-training: its weights, their average, its optimiser and its loss.

    Attributes
    ----------
    networks, optimizers
        Of one entry each, as `loop.save_state` keeps them.
    average
        Of the weights.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[nn.Module, Tensors], Tensor],
        rate: float,
        settings: PretrainingSettings,
    ) -> None:
        self.network, self.loss, self.rate, self.settings = network, loss, rate, settings
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=1e-4
        )
        self.networks = {"network": network}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"network": self.optimizer}
        self.average = Average(network, settings.ema)

    def step(self, batch: Tensors, progress: float, step: int) -> float:
        """Update once at `progress`, 0 to 1, of the time; return the loss."""
        rate = self.rate * pace(step, progress, self.settings.warm_up, self.settings.last_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        device = next(self.network.parameters()).device
        with fast_arithmetic(device):
            loss = self.loss(self.network, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(self.network, step)
        return float(loss.detach())

    def averaged(self) -> nn.Module:
        """Return a copy with the averaged weights, on the processor."""
        return copy.deepcopy(self.average.network).cpu().eval()


def restorer_loss(floor: float, faint: float, hinted: float) -> Callable[..., Tensor]:
    """Return the loss of a restorer: the log RMSE of each image, see `gan.losses.log_error`.

    Laboratories with a stage that shows only in a whole image are left out.

    Parameters
    ----------
    floor
        RMSE below which errors lose weight.
    faint
        PSNR in dB of the stages that are no longer hinted at.
    hinted
        Share of the images with a hint.
    """
    local = torch.tensor([all_defects()[name].local for name in STAGES])

    def loss(network: nn.Module, batch: Tensors) -> Tensor:
        planes = torch.stack((batch["before"], batch["defective"], batch["after"]), 2)
        count = planes.shape[1]
        x, y = planes.flatten(0, 1), batch["clean"].flatten(0, 1)[:, None]  # (B, 3, Y, X)
        there = (batch["strength"] < faint).float()  # (L, S)
        weight = 1 - (there * (~local).to(there)).amax(1)
        hint = there.repeat_interleave(count, 0)
        hint = hint * (torch.rand(len(x), 1, device=x.device) < hinted)
        gain = torch.exp(0.2 * torch.randn(len(x), 1, 1, 1, device=x.device))
        offset = 0.03 * torch.randn(len(x), 1, 1, 1, device=x.device)
        x, y = gain * x + offset, gain * y + offset
        restored = network(x.contiguous(memory_format=torch.channels_last), hint).float()
        errors = 0.5 * (restored - y).pow(2).mean((1, 2, 3)).add(floor**2).log()
        weight = weight.repeat_interleave(count, 0)
        mean: Tensor = (errors * weight).sum() / weight.sum().clamp(min=1)
        return mean

    return loss


def diagnosis_loss(faint: float) -> Callable[..., Tensor]:
    """Return the loss of a set encoder on sets of one to all images, see `encoder_loss`."""

    def loss(network: nn.Module, batch: Tensors) -> Tensor:
        images = batch["defective"]
        count = int(torch.randint(1, images.shape[1] + 1, ()))
        logits = network(
            images[:, :count].clamp(-2, 6),
            batch["numbers"][:, :count],
            batch["alike"],
            batch["alike_numbers"],
        )
        return encoder_loss(logits, batch["strength"], batch["position"], faint)

    return loss


def pretrain(
    specimens: Specimens,
    pupils: dict[str, Pupil],
    run: Path,
    settings: PretrainingSettings,
    laboratory: LaboratorySettings,
    *,
    seconds: float,
    seed: int = 0,
    device: torch.device | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Pupil]:
    """Train all pupils on the same laboratories, or go on with it.

    Parameters
    ----------
    specimens
        Clean planes.
    pupils
        By name.
    run
        Gets ``log.csv`` and the state of each pupil.
    settings, laboratory
        Numbers and shares.
    seconds
        Of training in all, those before an interruption included.
    seed
        Of all draws.
    device
        To train on.
    say
        Gets a line now and then.

    Returns
    -------
    dict
        The pupils.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run.mkdir(parents=True, exist_ok=True)
    for pupil in pupils.values():
        place(pupil.network, device)
        place(pupil.average.network, device)
    step, spent = _resume(pupils, run)
    batches = iter(loader(specimens, settings, laboratory, seed, step * settings.laboratories))
    rows: list[dict[str, float]] = []
    began = saved = time.perf_counter()
    while True:
        batch = {name: t.to(device, non_blocking=True) for name, t in next(batches).items()}
        now = time.perf_counter()
        progress = min(1.0, (spent + now - began) / seconds)
        losses = {name: pupil.step(batch, progress, step) for name, pupil in pupils.items()}
        step += 1
        rows.append({"step": step, "seconds": spent + now - began, **losses})
        if step % settings.log_every == 0:
            recent = rows[-settings.log_every :]
            means = {name: np.mean([row[name] for row in recent]) for name in rows[-1]}
            said = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            say(said)
        over = progress >= 1
        if over or now - saved > settings.save_seconds:
            _save(pupils, run, rows)
            saved, rows = time.perf_counter(), []
        if over:
            return pupils


def _resume(pupils: dict[str, Pupil], run: Path) -> tuple[int, float]:
    """Load what was last saved; return the steps and seconds of it."""
    log = run / _LOG
    if not log.exists():
        return 0, 0.0
    for name, pupil in pupils.items():
        load_state(_state(run, name), pupil, pupil.average)
    with log.open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    return int(last["step"]), float(last["seconds"])


def _save(pupils: dict[str, Pupil], run: Path, rows: list[dict[str, float]]) -> None:
    """Save the states, then the rows of the steps that they have taken since the last time."""
    for name, pupil in pupils.items():
        save_state(_state(run, name), pupil, pupil.average, int(rows[-1]["step"]))
    new = not (run / _LOG).exists()
    with (run / _LOG).open("a", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        if new:
            writer.writeheader()
        writer.writerows(rows)


def _state(run: Path, name: str) -> Path:
    return run / f"{name}.state.safetensors"


def restorer_pupil(network: UNetRestorer, settings: PretrainingSettings) -> Pupil:
    """Return a restorer to pre-train."""
    loss = restorer_loss(settings.error_floor, settings.faint, settings.hinted)
    return Pupil(network, loss, settings.restorer_rate, settings)


def encoder_pupil(settings: PretrainingSettings) -> Pupil:
    """Return a set encoder to pre-train."""
    return Pupil(SetEncoder(), diagnosis_loss(settings.faint), settings.encoder_rate, settings)

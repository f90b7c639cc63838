"""The one training loop. It drives both GANs and reads top to bottom: `run_loop`.

A batch and all randomness of a step are a function of (seed, step, process) alone. The step
number is therefore the whole position in the data, and a resumed run repeats an uninterrupted
one bit for bit on a CPU.
"""

from __future__ import annotations

import atexit
import copy
import csv
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from ..gan.checkpoints import read_tensors, write_tensors
from ..image.atomic import whole
from ..settings import StageSettings

Batch = dict[str, np.ndarray]


class Learns(Protocol):
    """What has a state to save: networks by name, and their optimisers."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]


class Adversaries(Learns, Protocol):
    """A GAN as the loop sees it: networks and optimisers, and one step."""

    product: str  # the network that is averaged and kept

    def step(self, batch: dict[str, Tensor], rng: torch.Generator, step: int) -> dict[str, float]:
        """Update every network once and return the losses."""

    def pictures(self, batch: dict[str, Tensor], rng: torch.Generator) -> Tensor:
        """Return a grid (rows, columns, Y, X) to look at."""


class Validates(Protocol):
    """What validates the averaged network every so many steps, in the main process."""

    every: int

    def __call__(self, network: nn.Module, step: int) -> bool:
        """Validate the network after `step` steps; True ends the training."""


def join_processes() -> Accelerator:
    """Join the processes of this program, if there are several.

    They part as the program ends: left to the libraries, an end sometimes aborts.
    """
    accelerator = Accelerator()
    if accelerator.num_processes > 1:
        atexit.register(accelerator.end_training)
    return accelerator


def run_loop(
    gan: Adversaries,
    batches: Callable[[int, int], Batch],
    folder: Path,
    settings: StageSettings,
    *,
    seed: int,
    accelerator: Accelerator,
    validation: Validates | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> nn.Module:
    """Train and return the averaged product network.

    Parameters
    ----------
    gan
        The networks and their step; already on the accelerator's device.
    batches
        ``batches(step, process)`` gives the arrays of one step.
    folder
        Gets ``state.safetensors``, ``log.csv``, TensorBoard events and ``pictures/``.
    settings
        Steps, rates and intervals.
    seed
        With step and process number, the seed of all randomness.
    accelerator
        Device and processes.
    validation
        Called after its number of steps and after the last one; may end the training.
    resume
        Go on from ``state.safetensors`` where there is one.
    quiet
        Show no progress bar.

    Raises
    ------
    ValueError
        The saved state is damaged, of another architecture, or of another format version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    average = Average(gan.networks[gan.product], settings.ema)
    state = folder / "state.safetensors"
    start = load_state(state, gan, average) if resume and state.exists() else 0
    main, process = accelerator.is_main_process, accelerator.process_index
    log = Log(folder, start) if main else None
    waited, begun = 0.0, time.perf_counter()
    with _progress(quiet or not main) as progress:
        bar = progress.add_task(folder.name, total=settings.steps, completed=start, figures="")
        for step, batch, wait in prefetch(batches, start, settings.steps, process):
            rng = step_generator(seed, step, process, accelerator.device)
            tensors = {
                name: torch.from_numpy(a).to(accelerator.device) for name, a in batch.items()
            }
            set_rates(gan, settings, step)
            losses = gan.step(tensors, rng, step)
            average.update(gan.networks[gan.product], step)
            done, waited = step + 1, waited + wait
            last = done == settings.steps
            if log and (done % settings.log_every == 0 or last):
                seconds = time.perf_counter() - begun
                speed = (done - start) / seconds
                log.write(done, {"seconds": seconds, "waiting": waited / seconds, **losses})
                progress.update(bar, figures=f"{speed:.1f} steps/s  {_figures(losses)}")
            if log and (done % settings.picture_every == 0 or last):
                with torch.no_grad():
                    save_grid(gan.pictures(tensors, rng), folder / "pictures" / f"{done:07d}.png")
            due = validation is not None and (done % validation.every == 0 or last)
            ended = main and validation is not None and due and validation(average.network, done)
            if main and (done % settings.save_every == 0 or last or ended):
                save_state(state, gan, average, done)
            progress.update(bar, completed=done)
            if due and _agreed(ended, accelerator):
                break
    if log:
        log.close()
    accelerator.wait_for_everyone()
    return average.network


def _agreed(ended: bool, accelerator: Accelerator) -> bool:
    """Return what the main process says in every process."""
    said = torch.tensor([float(ended)], device=accelerator.device)
    return bool(accelerator.reduce(said, reduction="sum").item() > 0)


def prefetch(
    batches: Callable[[int, int], Batch], start: int, stop: int, process: int
) -> Iterator[tuple[int, Batch, float]]:
    """Yield (step, batch, seconds waited for it), making the next batch meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(batches, start, process) if start < stop else None
        for step in range(start, stop):
            before = time.perf_counter()
            assert coming is not None
            batch = coming.result()
            wait = time.perf_counter() - before
            if step + 1 < stop:
                coming = pool.submit(batches, step + 1, process)
            yield step, batch, wait


def step_seed(seed: int, step: int, process: int) -> int:
    """Return the 63-bit seed of one step of one process."""
    words = np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def step_generator(
    seed: int, step: int, process: int, device: torch.device | str
) -> torch.Generator:
    """Return the torch generator of one step of one process."""
    return torch.Generator(device).manual_seed(step_seed(seed, step, process))


def set_rates(gan: Adversaries, settings: StageSettings, step: int) -> None:
    """Set the learning rates of a step: up in a line, then down in a cosine."""
    warm = min(1.0, (step + 1) / settings.warm_up)
    last = settings.last_rate
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / settings.steps)))
    for name, optimizer in gan.optimizers.items():
        peak = settings.learning_rate if name == gan.product else settings.critic_rate
        for group in optimizer.param_groups:
            group["lr"] = group.get("faster", 1.0) * peak * warm * (last + (1 - last) * cosine)


class Average:
    """Exponential moving average of a network's weights."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards `network`; the first steps count more, so that no start value stays."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        for ours, theirs in zip(
            self.network.state_dict().values(), network.state_dict().values(), strict=True
        ):
            ours.lerp_(theirs, 1 - decay)


def save_state(path: Path, gan: Learns, average: Average, step: int) -> None:
    """Write networks, average, optimisers and step to one file, which appears whole or not."""
    tensors = {f"average.{k}": v for k, v in average.network.state_dict().items()}
    for name, network in gan.networks.items():
        tensors |= {f"network.{name}.{k}": v for k, v in network.state_dict().items()}
    for name, optimizer in gan.optimizers.items():
        for parameter, weight in gan.networks[name].named_parameters():
            slots = optimizer.state.get(weight, {})
            tensors |= {f"optimizer.{name}.{parameter}.{k}": v for k, v in slots.items()}
    write_tensors(path, tensors, {"step": step})


def load_state(path: Path, gan: Learns, average: Average) -> int:
    """Restore what `save_state` wrote and return its step."""
    about, tensors = read_tensors(path)
    _fill(path, average.network, tensors, "average.")
    for name, network in gan.networks.items():
        _fill(path, network, tensors, f"network.{name}.")
    try:
        for name, optimizer in gan.optimizers.items():
            saved = _under(tensors, f"optimizer.{name}.")
            _fill_optimizer(optimizer, gan.networks[name], saved)
        return int(about["step"])
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError(
            f"{path}: expected the state of a training, got something else; start a new run"
        ) from None


def _fill_optimizer(
    optimizer: torch.optim.Optimizer, network: nn.Module, saved: dict[str, Tensor]
) -> None:
    """Give an optimiser the state of each weight, saved by the weight's name.

    Earlier files have the place of the weight among those that train, instead.
    """
    weights = dict(network.named_parameters())
    trained = [name for name, weight in weights.items() if weight.requires_grad]
    slots: dict[str, dict[str, Tensor]] = {}
    for key, tensor in saved.items():
        name, _, slot = key.rpartition(".")
        slots.setdefault(trained[int(name)] if name.isdigit() else name, {})[slot] = tensor
    places = {
        id(w): k for k, w in enumerate(w for g in optimizer.param_groups for w in g["params"])
    }
    state = {places[id(weights[name])]: values for name, values in slots.items()}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _fill(path: Path, network: nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    saved, wanted = _under(tensors, prefix), network.state_dict()
    if {k: v.shape for k, v in saved.items()} != {k: v.shape for k, v in wanted.items()}:
        raise ValueError(
            f"{path}: expected the weights of {type(network).__name__} with "
            f"{len(wanted)} tensors, got another architecture; use the settings it was trained with"
        )
    network.load_state_dict(saved)


class Log:
    """``log.csv`` and TensorBoard events; rows after the resumed step are dropped."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "log.csv"
        self.rows = [row for row in self._read() if int(row["step"]) <= start]
        self.before = float(self.rows[-1]["seconds"]) if self.rows else 0.0
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start)

    def _read(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Add a row; seconds count on from an interrupted run's."""
        figures = figures | {"seconds": self.before + figures["seconds"]}
        self.rows.append({"step": str(step)} | {k: f"{v:.6g}" for k, v in figures.items()})
        with whole(self.path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.rows[-1], extrasaction="ignore", restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        for name, value in figures.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush TensorBoard's file."""
        self.board.close()


def save_grid(grid: Tensor, path: Path) -> None:
    """Write (rows, columns, Y, X), intensities 0..1 of about, as one gray PNG."""
    from imagecodecs import png_encode

    rows, columns, height, width = grid.shape
    flat = grid.detach().cpu().permute(0, 2, 1, 3).reshape(rows * height, columns * width)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = flat.clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    with whole(path) as part:
        part.write_bytes(png_encode(pixels))


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[figures]}"),
        console=Console(stderr=True),
        disable=quiet,
    )


def _figures(losses: dict[str, float]) -> str:
    """The two losses that say most, so that the line fits a terminal; log.csv has all."""
    telling = [name for name in ("pixel", "content", "critic", "spectrum") if name in losses]
    return "  ".join(f"{name} {losses[name]:.3g}" for name in telling[:2])

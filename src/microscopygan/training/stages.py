"""A training, stage after stage.

`train` is the list of the stages: it splits the dataset, calibrates physics, trains CIN-GAN where
it is needed, then the restorer, and validates it. Each stage is a function that returns what it
found or trained, so that anyone can call one and look. A further defect for a CIN-GAN, the
pre-training of what ships, and the benchmark call the same stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from ..datasets.folder import Dataset, load_dataset
from ..gan.cgan import CGan
from ..gan.cin_gan import CinGan, load_defects, save_defects
from ..gan.networks import (
    Corrector,
    DefectGenerator,
    ResNetRestorer,
    UNetRestorer,
    choose_rows,
    place,
    train_rows,
)
from ..settings import Settings, Stage, make_settings
from . import neighbor2neighbor, real_images
from .batches import DefectBatches, PairBatches
from .correction import keep_corrections, start_codes
from .export_onnx import export_restorer
from .fine_tuning import (
    as_generalist,
    generalist,
    generator_for,
    validation_images,
)
from .identification import find_physics
from .loop import Batch, join_processes, run_loop
from .outcome import outcome
from .record import describe, model_card
from .run_folder import (
    begun,
    keep_minutes,
    keep_steps,
    open_run,
    read_physics,
    read_run_settings,
    read_time_budget,
    write_json,
    write_physics,
)
from .split import Split, split_dataset
from .synthesis import save_draws
from .time_budget import Clock, fit_defects, fit_restorer, with_steps
from .validation import Validation, ValidationImages

Restorer = UNetRestorer | ResNetRestorer
Batches = Callable[[int, int], Batch]


@dataclass(frozen=True)
class Training:
    """What all stages of a training share.

    Attributes
    ----------
    folder
        The run's; see `train` for what it gets.
    settings
        All settings.
    accelerator
        Device and processes.
    clock
        Of a limited time; None where there is no limit.
    resume
        Whether stages go on from their saved states.
    quiet
        Whether no progress is shown.
    """

    folder: Path
    settings: Settings
    accelerator: Accelerator
    clock: Clock | None = None
    resume: bool = False
    quiet: bool = False

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files."""
        return bool(self.accelerator.is_main_process)


@dataclass(frozen=True)
class Trained:
    """What a training made, stage by stage; None is what it left out.

    Attributes
    ----------
    folder
        The run's.
    settings
        All settings, with the steps that were to be taken.
    split
        Which images served what, and the calibrated physics.
    generator
        CIN-GAN's, and in ``defects.safetensors``.
    restorer
        The one that is kept, and in ``restorer.onnx``.
    outcome
        What validation said of an adaptation, as in ``run.json``.
    seconds
        Of each stage that was run.
    """

    folder: Path
    settings: Settings
    split: Split
    generator: DefectGenerator | None
    restorer: Restorer | None
    outcome: dict[str, object] | None
    seconds: dict[str, float]

    @property
    def model(self) -> Path:
        """The file that `restore` takes."""
        return self.folder / "restorer.onnx"


def train(
    dataset: Dataset | Path | str,
    run: Path | str,
    settings: Settings | None = None,
    *,
    stage: Stage = "all",
    minutes: float | None = None,
    add_to: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> Trained:
    """Train CIN-GAN, where it is needed, then the restorer, into the folder `run`.

    Physics makes the synthetic pairs of the defects that it describes, CIN-GAN those of others,
    and of all in a share ``settings.cin_gan``. Where ``settings.start`` is ``generalist``, the
    networks that ship are adapted: of CIN-GAN the rows of the dataset's defects only. Weights
    between the restorer that ships and its states on the way are validated on images held back,
    which say what is kept, be it those that ship. From noisy images alone, without a clean one, the
    restorer is adapted by self-supervision.

    Parameters
    ----------
    dataset
        The images, or their folder.
    run
        Gets ``settings.json``, ``run.json``, ``defects/``, ``defects.safetensors``,
        ``restorer/`` and ``restorer.onnx``.
    settings
        All settings; those of the preset ``default`` where not given.
    stage
        ``all``, ``defects`` (CIN-GAN, needed or not) or ``restorer`` (takes the run's CIN-GAN).
    minutes
        Both stages' steps are lowered so that they take this long at most, in all.
    add_to
        Another run, whose CIN-GAN learns the defects of this dataset as well: only their rows are
        trained, and all others, as every shared weight, stay bit-equal. No restorer is trained.
    resume
        Go on with an interrupted run of the same settings; without a saved state, start.
    overwrite
        Replace an existing run.
    quiet
        Show no progress.

    Raises
    ------
    FileExistsError
        The run exists, and neither `resume` nor `overwrite` is set.
    ValueError
        Unknown stage, unfit dataset, settings other than those of the run to resume, or a defect
        that the CIN-GAN to add to has already.
    FileNotFoundError
        Stage ``restorer``, or `add_to`, without a trained CIN-GAN.
    """
    started, run = time.perf_counter(), Path(run)
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    settings = make_settings() if settings is None else settings
    how = {"resume": resume, "overwrite": overwrite, "quiet": quiet}
    if add_to is not None:
        return _extend(Path(add_to), data, run, settings, **how)
    settings = as_generalist(settings) if settings.start == "generalist" else settings
    split = split_dataset(data, settings)
    return train_split(split, run, settings, stage=stage, minutes=minutes, started=started, **how)


def train_split(
    split: Split,
    run: Path,
    settings: Settings,
    *,
    stage: Stage = "all",
    minutes: float | None = None,
    started: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> Trained:
    """Train on images whose roles are set; as `train`, whose time began at `started`."""
    if settings.start == "generalist":
        settings = as_generalist(settings)
    _check_stage(split, run, settings, stage)
    training = begin(
        run, settings, stage, minutes, started, resume=resume, overwrite=overwrite, quiet=quiet
    )
    split = with_physics(split, training)
    generator, restorer, seconds = None, None, {}
    if stage == "defects" or (stage == "all" and needs_defects(split, settings)):
        begun_at = time.perf_counter()
        start = generator_for(split) if settings.start == "generalist" else None
        fit = partial(fit_defects, settings, split, training.accelerator, start)
        training = with_fitting_steps(training, "defects", fit)
        generator = train_defects(split, training, start=start)
        seconds["defects"] = time.perf_counter() - begun_at
    elif stage == "all" and split.physics and training.main:
        save_draws(run / "draws.npz", None, split, settings)
    if stage != "defects":
        begun_at = time.perf_counter()
        generator = load_generator(split, training) if needs_defects(split, settings) else None
        training, restorer = train_restorer(split, training, generator)
        seconds["restorer"] = time.perf_counter() - begun_at
    adapted = restorer is not None and settings.start == "generalist"
    validated = outcome(run / "restorer", split, settings) if adapted else None
    trained = Trained(run, training.settings, split, generator, restorer, validated, seconds)
    if training.main:
        describe(trained)
    return trained


def _extend(other: Path, data: Dataset, run: Path, settings: Settings, **how: bool) -> Trained:
    """Add the defects of a dataset to the CIN-GAN of another run; see `train`."""
    saved = other / "defects.safetensors"
    if not saved.exists():
        raise FileNotFoundError(f"{saved} is missing: train with --stage defects first")
    generator, names = load_defects(saved)
    settings = _as_trained(settings, other, generator)
    split = split_dataset(data, settings.model_copy(update={"start": "scratch"}))
    twice = sorted(set(names) & set(split.defects))
    if twice:
        raise ValueError(f"{other} has {', '.join(twice)} already; leave only new defects in")
    training = begin(run, settings, "defects", **how)
    split = with_physics(split, training)
    choose_rows(generator, [*range(len(names)), *(None for _ in split.defects)])
    train_rows(generator)
    begun_at = time.perf_counter()
    generator = train_defects(split, training, before=names, start=generator)
    seconds = {"defects": time.perf_counter() - begun_at}
    trained = Trained(run, settings, split, generator, None, None, seconds)
    if training.main:
        write_physics(run, {**read_physics(other), **read_physics(run)})
        describe(trained)
    return trained


def _as_trained(settings: Settings, other: Path, generator: DefectGenerator) -> Settings:
    """Return settings with a generator's architecture, and what its run starts it from."""
    changes: dict[str, object] = {"defects.architecture": generator.architecture.model_dump()}
    if begun(other):
        changes["defects.physics"] = read_run_settings(other).defects.physics
    return settings.changed(changes)


def _check_stage(split: Split, run: Path, settings: Settings, stage: Stage) -> None:
    """Check that a stage can be run, before anything is written."""
    if stage == "defects" and not (split.clean and settings.alpha > 0):
        raise ValueError("CIN-GAN needs clean images and alpha above 0; leave --stage out")
    if stage == "restorer" and split.clean and settings.alpha > 0 and _asks_for_defects(settings):
        _saved_defects(run)


def _asks_for_defects(settings: Settings) -> bool:
    """Tell whether CIN-GAN is to make synthetic pairs whatever physics does."""
    return settings.cin_gan > 0 or not settings.defects.physics


def _saved_defects(run: Path) -> Path:
    saved = run / "defects.safetensors"
    if not saved.exists():
        raise FileNotFoundError(f"{saved} is missing: run --stage defects first, or set --alpha 0")
    return saved


def begin(
    run: Path,
    settings: Settings,
    stage: Stage = "all",
    minutes: float | None = None,
    started: float | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> Training:
    """Join the processes, open the run's folder and start its clock.

    The time counts from `started` (of ``time.perf_counter``), or from now.
    """
    started = time.perf_counter() if started is None else started
    accelerator = join_processes()
    if accelerator.is_main_process:
        open_run(run, settings, stage, resume=resume, overwrite=overwrite)
        keep_minutes(run, minutes)
    accelerator.wait_for_everyone()
    minutes = read_time_budget(run).get("minutes")
    seconds = None if minutes is None else 60 * minutes - (time.perf_counter() - started)
    clock = None if seconds is None else Clock(seconds)
    return Training(run, settings, accelerator, clock, resume, quiet)


def needs_defects(split: Split, settings: Settings) -> bool:
    """Tell whether a restorer needs CIN-GAN: for defects with neither physics nor real pairs."""
    if not split.clean or settings.alpha == 0:
        return False
    if _asks_for_defects(settings):
        return True
    return any(not split.physics.get(n) and not split.pairs[n] for n in split.defects)


def needs_physics(settings: Settings) -> bool:
    """Tell whether a run calibrates physics, for synthetic pairs and what CIN-GAN starts from."""
    return settings.alpha > 0 and settings.defects.physics


def with_fitting_steps(training: Training, stage: str, fit: Callable[[Clock], int]) -> Training:
    """Lower the steps of a stage to what fits the time left.

    They are timed once a run, and are the same for every process.
    """
    run, settings, clock = training.folder, training.settings, training.clock
    if clock is not None and stage not in read_time_budget(run) and training.main:
        keep_steps(run, stage, min(fit(clock), getattr(settings, stage).steps))
    training.accelerator.wait_for_everyone()
    steps = read_time_budget(run).get(stage)
    if steps is None:
        return training
    return replace(training, settings=with_steps(settings, stage, int(steps)))


def with_physics(split: Split, training: Training) -> Split:
    """Return the split with its physics, found once a run: all processes read the same."""
    settings, run = training.settings, training.folder
    if not (needs_physics(settings) and split.clean):
        return split
    if training.main and not (run / "physics.json").exists():
        physics = find_physics(split, settings)
        write_json(run / "unlikeness.json", {n: each.unlikeness for n, each in physics.items()})
        write_physics(run, {n: each.sets for n, each in physics.items() if each.sets})
    training.accelerator.wait_for_everyone()
    return replace(split, physics=read_physics(run))


def train_defects(
    split: Split,
    training: Training,
    *,
    before: tuple[str, ...] = (),
    start: DefectGenerator | None = None,
) -> DefectGenerator:
    """Stage one: train CIN-GAN; keep its averaged generator and some of its draws.

    A correction that brings synthetic images no nearer to real ones is taken back, see
    `correction`; ``defects/compared.json`` has the distances.

    Parameters
    ----------
    split
        Clean and defective images, and physics.
    training
        Settings and folder.
    before
        Names of the defects whose rows `start` has before those of the split.
    start
        A trained generator to go on from, see `CinGan`; random weights where not given.
    """
    settings, accelerator, run = training.settings, training.accelerator, training.folder
    names = before + split.defects
    if isinstance(start, Corrector):
        start_codes(start, split, settings, len(before))
    generator = run_loop(
        CinGan(settings.defects, names, accelerator, settings.seed, start=start),
        DefectBatches(split, settings, first=len(before)),
        run / "defects",
        settings.defects,
        seed=settings.seed,
        accelerator=accelerator,
        resume=training.resume,
        quiet=training.quiet,
    )
    assert isinstance(generator, DefectGenerator)
    if training.main and isinstance(generator, Corrector):
        compared = keep_corrections(generator, split, settings, len(before))
        write_json(run / "defects" / "compared.json", {k: asdict(v) for k, v in compared.items()})
    if training.main:
        save_defects(run / "defects.safetensors", generator, names)
        save_draws(run / "draws.npz", generator, split, settings, first=len(before))
    accelerator.wait_for_everyone()  # the others read what was saved
    return generator


def load_generator(split: Split, training: Training) -> DefectGenerator:
    """Return the run's CIN-GAN.

    Raises
    ------
    FileNotFoundError
        It was not trained.
    ValueError
        It was trained for other defects than the split's.
    """
    saved = _saved_defects(training.folder)
    generator, names = load_defects(saved)
    if names != split.defects:
        raise ValueError(
            f"{saved}: has the defects {', '.join(names)}, but the dataset has "
            f"{', '.join(split.defects)}; run --stage defects on this dataset first"
        )
    return generator


def train_restorer(
    split: Split, training: Training, generator: DefectGenerator | None
) -> tuple[Training, Restorer]:
    """Stage two: train the restorer on real and synthetic pairs, validate and export it.

    Within a limited time its steps are lowered to what is left of it.

    Parameters
    ----------
    split
        Pairs, clean images and physics.
    training
        Settings and folder.
    generator
        CIN-GAN's, see `CGan`.

    Returns
    -------
    tuple
        The training with the steps that were to be taken, and the restorer that is kept.
    """
    if not split.clean:
        settings = training.settings
        steps = min(settings.self_supervision.steps, settings.restorer.steps)
        training = replace(training, settings=with_steps(settings, "restorer", steps))
    start = generalist() if training.settings.start == "generalist" else None
    batches, images = restorer_images(split, training.settings, start, generator)
    if start is not None and not images:
        return training, keep_shipped(split, training, start)
    validation = None if start is None else begin_validation(split, training, images, start)
    stage, accelerator = training.settings.restorer, training.accelerator
    fit = partial(fit_restorer, stage, batches, accelerator, generator)
    training = with_fitting_steps(training, "restorer", fit)
    if validation is not None:
        steps = training.settings.restorer.steps
        validation.every = max(1, steps // training.settings.adaptation.validations)
    restorer = run_restorer(training, batches, generator, start, validation)
    steps = training.settings.restorer.steps
    if training.main:
        if validation is not None:
            steps = keep_better(split, training, validation, restorer)
        card = model_card(split, training.settings, steps)
        export_restorer(restorer, training.folder / "restorer.onnx", card)
    accelerator.wait_for_everyone()
    return training, restorer


def keep_better(
    split: Split, training: Training, validation: Validation, restorer: Restorer
) -> int:
    """Give `restorer` the weights that are kept; return after how many steps they were trained.

    What validation lets through has to pass the test on real defective images as well, see
    `real_images`: else the network that ships is kept.
    """
    steps = validation.kept_step or 0
    validation.with_kept(restorer)
    shipped = place(generalist(), training.accelerator.device)
    real = real_images.compare(split, training.settings, restorer, shipped) if steps else {}
    real_images.write_comparisons(training.folder / "restorer", real)
    if not real_images.may_keep(real):
        restorer.load_state_dict(shipped.state_dict())
        return 0
    return steps


def keep_shipped(split: Split, training: Training, start: Restorer) -> Restorer:
    """Export the network that ships, where nothing can say whether another is better."""
    if training.main:
        card = model_card(split, training.settings, 0)
        (training.folder / "restorer").mkdir(exist_ok=True)
        export_restorer(start, training.folder / "restorer.onnx", card)
    training.accelerator.wait_for_everyone()
    return start


def restorer_images(
    split: Split,
    settings: Settings,
    start: nn.Module | None,
    generator: DefectGenerator | None,
) -> tuple[Batches, dict[str, ValidationImages]]:
    """Return the batches of the restorer and, to adapt the network `start`, validation images."""
    if start is not None and not split.clean:
        (name,) = split.defects
        planes, validation_planes = split.defective[name], split.validation_planes[name]
        neighbor2neighbor.check_noise([*planes, *validation_planes], start, settings)
        return (
            neighbor2neighbor.NeighbourBatches(planes, settings),
            {name: neighbor2neighbor.noisy_images(validation_planes, settings)},
        )
    if start is None:
        return PairBatches(split, settings), {}
    images = validation_images(split, settings, generator)
    return PairBatches(split, settings, images), images


def begin_validation(
    split: Split, training: Training, images: dict[str, ValidationImages], start: Restorer
) -> Validation:
    """Validate the network that an adaptation starts from, and keep time for the others."""
    settings, clock = training.settings, training.clock
    adaptation = settings.adaptation
    validation = Validation(
        images,
        training.folder / "restorer",
        patience=adaptation.patience,
        start=start,
        mixing_weight=(adaptation if split.clean else settings.self_supervision).mixing_weight,
        tolerance=adaptation.tolerance,
        clean_psnr=adaptation.clean_psnr,
    )
    if training.main and validation.kept_step is None:
        validation(place(start, training.accelerator.device), 0)
    if clock is not None:
        clock.reserve(adaptation.validations * validation.seconds)
        validation.clock = clock
    return validation


def run_restorer(
    training: Training,
    batches: Batches,
    generator: DefectGenerator | None,
    start: Restorer | None,
    validation: Validation | None,
) -> Restorer:
    """Train a restorer and return its average over the last steps.

    Where validation ends it early, those are all its steps: a training that is over stays so.
    """
    settings, accelerator = training.settings, training.accelerator
    restorer = run_loop(
        CGan(settings.restorer, accelerator, settings.seed, generator, start),
        batches,
        training.folder / "restorer",
        settings.restorer,
        seed=settings.seed + 1,
        accelerator=accelerator,
        validation=validation,
        resume=training.resume,
        quiet=training.quiet,
    )
    if validation is not None and validation.ended_step is not None:
        keep_steps(training.folder, "restorer", validation.ended_step)
    assert isinstance(restorer, UNetRestorer | ResNetRestorer)
    return restorer

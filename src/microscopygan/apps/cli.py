"""The command line, ``microscopygan``: one function a command."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from .. import __version__
from ..image.formats import TIMEOUT, Compression, Ngff, as_url
from ..restoration import Device, DtypeName, HotPixels, Neighbours, Scope, TaskName
from ..restoration.models import GENERALIST
from ..settings import COMMON, Preset, Stage, Start
from .batch import one_line, printable, say
from .extras import need
from .restore_options import RestoreOptions, combine_options

app = typer.Typer(
    help="Restore microscopy images when there is hardly any training data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console(markup=False, emoji=False)  # names may look like either

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all randomness.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"microscopygan {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    if debug:
        os.environ["MICROSCOPYGAN_DEBUG"] = "1"


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")] = Path("demo"),
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Restore shipped images, adapt to others of them, restore again, and write a report."""
    need("train", "the demo")
    from .demo import run_demo

    run_demo(output, seed=seed, overwrite=overwrite, quiet=quiet)


@app.command()
def train(
    dataset: Annotated[Path, typer.Argument(help="Folder of images, see the README.")],
    run: Annotated[Path, typer.Option("-o", "--output", help="Run folder to make.")],
    preset: Annotated[
        Preset | None,
        typer.Option(help="paper: the networks and losses of 2019.", show_default="default"),
    ] = None,
    stage: Annotated[Stage, typer.Option(help="One stage alone, or all.")] = "all",
    start: Annotated[
        Start | None,
        typer.Option("--from", help="Adapt what ships, or start anew.", show_default="generalist"),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="At most so long; 5 from the generalist if not given."),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Share of synthetic pairs, 0 to 1.", show_default="0.5")
    ] = None,
    cin_gan: Annotated[
        float | None,
        typer.Option(
            help="Share of those by CIN-GAN where the physics is known, 0 to 1.", show_default="0"
        ),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(help="Real pairs of each defect to use.", show_default="all")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of each stage that is run.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of all randomness.", show_default="0")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="TOML file of settings, which options override.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting, such as restorer.content_weight=0.3; repeatable."),
    ] = None,
    match_pairs: Annotated[
        bool, typer.Option(help="Fit the gain and offset of each pair's target to its input.")
    ] = True,
    add_to: Annotated[
        Path | None, typer.Option(help="Run whose CIN-GAN learns the dataset's defects as well.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this run.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Adapt the generalist, or train from scratch: the defects, then the restorer (cGAN).

    CIN-GAN learns the defects that no physics describes; with --cin-gan, a share of the others.
    Settings come from the preset, then --settings, then --set, then the other options.
    """
    need("train", "training")
    from ..datasets.folder import load_dataset
    from ..settings import combine_settings
    from ..training.run_folder import begun
    from ..training.stages import train as train_run
    from .training import evaluate_run

    options = {"preset": preset, "start": start, "alpha": alpha, "cin_gan": cin_gan}
    options |= {"pairs": pairs, "seed": seed, "defects.steps": steps, "restorer.steps": steps}
    chosen = combine_settings(settings, changes or [], options)
    if add_to is not None and (minutes is not None or stage != "all"):
        raise ValueError(
            "--add-to trains CIN-GAN's new rows alone; leave --minutes and --stage out"
        )
    if minutes is None and chosen.start == "generalist" and not (resume and begun(run)):
        minutes = 5.0
    trained = train_run(
        load_dataset(dataset, match_pairs=match_pairs),
        run,
        chosen,
        stage=stage,
        minutes=minutes,
        add_to=add_to,
        resume=resume,
        overwrite=overwrite,
        quiet=quiet,
    )
    if add_to is not None:
        say(f"Run written to {run}. Next: microscopygan synthesize {run} ...")
        return
    for line in evaluate_run(trained):
        say(line)
    say(f"Run written to {run}. Next: microscopygan report {run}")


@app.command()
def synthesize(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    clean: Annotated[list[Path], typer.Argument(help="Clean images or folders of them.")],
    defect: Annotated[str, typer.Option(help="Name of the defect.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    seed: Seed = 0,
    draws: Annotated[int, typer.Option(min=1, help="Images from each clean one.")] = 1,
    overwrite: Overwrite = False,
) -> None:
    """Put a learned defect into clean images."""
    need("train", "putting defects into images")
    from ..training.synthesis import synthesize_files
    from .batch import outputs_of

    if as_url(output):
        raise ValueError(f"{output}: expected a folder on this machine, got a URL; copy it there")
    pairs = outputs_of([str(path) for path in clean], output, overwrite=True)
    outputs = [(source, Path(path)) for source, path in pairs]
    written = synthesize_files(run, outputs, defect, seed=seed, draws=draws, overwrite=overwrite)
    for path in written:
        say(str(path))


Images = Annotated[
    list[str], typer.Argument(help="Images, folders, quoted patterns, Zarr folders or URLs.")
]
Hint = Annotated[
    str | None,
    typer.Option("--defect", help=f"What they have, by commas: {', '.join(COMMON)}, …; or auto."),
]
Strength = Annotated[float, typer.Option(help="0 (the input) to 1 (restored).")]
Task = Annotated[TaskName, typer.Option(help="Plane by plane, or stacks become isotropic.")]
Axes = Annotated[
    str | None, typer.Option(help="Letters of TCZYX, if the file does not name its axes.")
]
VoxelSize = Annotated[str | None, typer.Option(help="z,y,x in µm, if the file does not state it.")]
Channels = Annotated[str | None, typer.Option(help="Such as 0,2; the others are copied.")]
Intensity = Annotated[Scope, typer.Option(help="What one intensity map covers.")]
Dtype = Annotated[DtypeName, typer.Option(help="auto: as the input, float32 of few grey levels.")]
Hot = Annotated[
    HotPixels, typer.Option("--hot-pixels", help="auto: mended where there clearly are some.")
]
Beside = Annotated[
    Neighbours,
    typer.Option("--neighbours", help="Planes beside, along Z or T; auto: where they correlate."),
]
ThisFile = Annotated[
    bool, typer.Option("--this-file", help="Of an image in several files, this one alone.")
]
KeepSampling = Annotated[
    bool, typer.Option("--keep-sampling", help="Axial task: return to the input's planes.")
]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        envvar="MICROSCOPYGAN_MODEL",
        help="One that ships (see the command models), restorer.onnx of a run, or a .zip package.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        envvar="MICROSCOPYGAN_MEMORY", help="Such as 2GB; half of what is free if not given."
    ),
]
Processor = Annotated[
    Device,
    typer.Option("--device", envvar="MICROSCOPYGAN_DEVICE", help="What the network runs on."),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, envvar="MICROSCOPYGAN_THREADS", help="Threads of each worker."),
]
Packed = Annotated[
    Compression, typer.Option("--compression", help="Of TIFF and Zarr; auto: as the input.")
]
Pyramid = Annotated[
    bool, typer.Option("--pyramid", help="Smaller copies in OME-TIFF, as Zarr always has.")
]
NgffVersion = Annotated[
    Ngff, typer.Option("--ngff", help="Version of OME-Zarr; many programs read 0.4 only.")
]
Workers = Annotated[int, typer.Option(min=1, help="Processes; several need a Zarr output.")]
Scheduler = Annotated[
    str | None, typer.Option(help="tcp://... of a Dask cluster; needs a Zarr output.")
]
Timeout = Annotated[
    float, typer.Option(help="Seconds without an answer after which a server is given up.")
]
OptionsFile = Annotated[
    Path | None,
    typer.Option(help="TOML file of the options above by their names; what is given here wins."),
]
KeepDone = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted run; keep what is done.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first image that cannot be restored.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line for each image.")]


@app.command()
def restore(
    context: typer.Context,
    images: Images,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File, or folder for several, or a Zarr's URL.")
    ] = Path("restored"),
    model: Model = GENERALIST,
    defect: Hint = None,
    strength: Strength = 1.0,
    task: Task = "plane",
    axes: Axes = None,
    voxel_size: VoxelSize = None,
    channels: Channels = None,
    intensity: Intensity = "volume",
    dtype: Dtype = "auto",
    keep_sampling: KeepSampling = False,
    hot_pixels: Hot = "auto",
    neighbours: Beside = "auto",
    memory: Memory = None,
    device: Processor = "auto",
    threads: Threads = None,
    compression: Packed = "auto",
    pyramid: Pyramid = False,
    ngff: NgffVersion = "0.5",
    workers: Workers = 1,
    scheduler: Scheduler = None,
    timeout: Timeout = TIMEOUT,
    settings: OptionsFile = None,
    resume: KeepDone = False,
    overwrite: Overwrite = False,
    strict: Strict = False,
    this_file: ThisFile = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Restore images; needs no PyTorch.

    A batch goes on after an image that cannot be restored.

    Exit code 0: all are restored. 1: some of several are not. 2: wrong usage, or
    the only one is not.
    """
    from .batch import restore_batch

    options = combine_options(settings, *_given(context))
    failures = restore_batch(
        images,
        output,
        **options.arguments(),
        resume=resume,
        overwrite=overwrite,
        strict=strict,
        this_file=this_file,
        quiet=quiet,
        as_json=as_json,
    )
    if failures:
        raise typer.Exit(1)


def _given(context: typer.Context) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what was given on the command line, and what the environment says besides."""
    by_source: dict[str, dict[str, Any]] = {"COMMANDLINE": {}, "ENVIRONMENT": {}}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if source is not None and name in RestoreOptions.model_fields:
            by_source.setdefault(source.name, {})[name] = value
    return by_source["COMMANDLINE"], by_source["ENVIRONMENT"]


@app.command()
def diagnose(
    images: Images,
    clean: Annotated[
        str | None, typer.Option(help="Clean images, a folder: best of the same specimen.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="HTML file to make, with pictures.")
    ] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Judge each image by itself, not all together.")
    ] = False,
    axes: Axes = None,
    model: Model = GENERALIST,
    seed: Seed = 0,
    this_file: ThisFile = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line for each diagnosis.")
    ] = False,
) -> None:
    """Say what is wrong with images of one laboratory, and what undoes it.

    Exit code 0: all are read. 1: some of several are not. 2: wrong usage, or the
    only one is not.
    """
    need("evaluate", "a diagnosis")
    from .diagnosis import diagnose_batch

    failures = diagnose_batch(
        images,
        clean,
        output,
        each=each,
        axes=axes,
        model=model,
        seed=seed,
        this_file=this_file,
        overwrite=overwrite,
        quiet=quiet,
        as_json=as_json,
    )
    if failures:
        raise typer.Exit(1)


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the models that ship, with what they restore and how fast they are here."""
    from .batch import list_models

    list_models(as_json=as_json)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="One that ships, or restorer.onnx of a run.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .zip file to make.")],
    form: Annotated[
        Literal["bioimageio"], typer.Option("--format", help="What other programs read.")
    ] = "bioimageio",
    scale: Annotated[
        str,
        typer.Option(
            metavar="image|LOW,HIGH",
            help="Percentiles of each image, or one map, for tiles: these intensities are 0 and 1.",
        ),
    ] = "image",
    defect: Hint = None,
    strength: Strength = 1.0,
    image: Annotated[
        Path | None, typer.Option(help="Test image and cover; a shipped sample if not given.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model as a package that Fiji and others run; needs no PyTorch."""
    need("export", "exporting")
    from ..restoration.bioimageio.package import export_bioimageio, parse_scale
    from .known_scores import known_psnr

    difference = export_bioimageio(
        model,
        output,
        scale=parse_scale(scale),
        defect=() if defect is None else defect,
        strength=strength,
        image=image,
        psnr=known_psnr(model),
        overwrite=overwrite,
    )
    console.print(
        f"{output}: a package of BioImage.IO; its test image differs from restore by "
        f"{difference:.1g} of the range"
    )


@app.command()
def evaluate(
    restored: Annotated[Path, typer.Argument(help="Restored image or folder.")],
    target: Annotated[Path, typer.Argument(help="Clean image or folder, same names.")],
    csv: Annotated[Path | None, typer.Option(help="Write one row an image.")] = None,
    data_range: Annotated[
        float | None, typer.Option(help="Range of plain PSNR and SSIM; the target's if not given.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Score restored images against clean ones."""
    need("evaluate", "scoring")
    from ..evaluate.folders import evaluate_folders, left_out, summarise, write_csv

    rows = evaluate_folders(restored, target, data_range=data_range)
    if csv is not None:
        write_csv(rows, csv, overwrite=overwrite)
    table = Table("metric", "mean", "sd", title=f"{len(rows)} images")
    for name, spread in summarise(rows).items():
        table.add_row(name, f"{spread.mean:.4g}", f"{spread.sd:.3g}")
    console.print(table)
    if lonely := left_out(restored, target):
        say(f"Left out, without an image of the same name: {', '.join(lonely)}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="HTML file.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write one self-contained HTML page about a run."""
    need("evaluate", "the report")
    from ..evaluate.report.page import write_report

    path = write_report(run, output or run / "report.html", overwrite=overwrite)
    say(f"Report written to {path}")


@app.command()
def web(
    root: Annotated[
        Path | None, typer.Option(help="Folder to choose images from, without uploading them.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page.", show_default="a free one")
    ] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than this let other machines in.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open the page.")] = True,
) -> None:
    """Restore images on a web page of this machine; nothing leaves it."""
    need("web", "the web page")
    from .web.server import serve

    serve(port=port, root=root, host=host, browser=browser)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; bad input gives one line and exit code 2."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what goes wrong there is raised
    for stream in (sys.stdout, sys.stderr):  # names that a console cannot show do not end a run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _terminated_as_interrupted():
            sys.exit(app(args=arguments, standalone_mode=False))
    except _USAGE as error:
        if message := error.format_message():  # none where the help has been shown
            _complain(message)
        sys.exit(2)
    except typer.Abort:
        _complain("stopped")
        sys.exit(1)
    except (ValueError, OSError, ModuleNotFoundError, MemoryError) as error:
        if os.environ.get("MICROSCOPYGAN_DEBUG"):
            raise
        _complain(one_line(error))
        sys.exit(2)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C: outputs are whole or not there, or can be gone on with."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_USAGE: Any = typer.BadParameter.__base__  # what all errors in the use of a command are


def _complain(line: str) -> None:
    print(f"microscopygan: {printable(line)}", file=sys.stderr)

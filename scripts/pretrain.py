"""Pre-train what ships: restorers, the encoder of a diagnosis, and CIN-GAN's corrector.

``python scripts/pretrain.py CLEAN -o RUN --minutes 60`` reads clean images from the folder CLEAN
and trains them on virtual laboratories; without it, on simulated specimens alone. It can be stopped
at any time: the same command goes on where it last saved. ``--from scripts/pretrained`` starts from
the weights reached so far; ``--common 0.6`` shows more of the defects that users have most.
``RUN/run.json`` records the data's hashes, the settings, versions and seconds, ``RUN/log.csv`` the
losses.

``--ship 0.7`` trains nothing: it writes into the package the weights that lie so far from the
generalist that ships to that of RUN (1: those of RUN), their model file and their record.

``--pupils corrector`` trains CIN-GAN, which has images of its own and is not gone on with:
``RUN/defects.safetensors`` is what ships, ``RUN/held_out.json`` the energy score of other
laboratories, stage by stage, and that of the images that it corrects: 0.7 of it is what another
draw of noise has. ``--without`` leaves stages out, to see what it makes of what it never saw.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from microscopygan import __version__
from microscopygan.diagnosis.parameters import STAGES
from microscopygan.gan.cgan import load_restorer, save_restorer
from microscopygan.gan.checkpoints import read_tensors, write_tensors
from microscopygan.gan.networks import UNetRestorer, grown
from microscopygan.image.axes import to_planes
from microscopygan.image.formats import list_images, read
from microscopygan.model_card import ModelCard
from microscopygan.restoration.models import GENERALIST, MODELS
from microscopygan.settings import LaboratorySettings, PretrainingSettings, RestorerArchitecture
from microscopygan.training.fine_tuning import RESTORER
from microscopygan.training.laboratories import Specimens
from microscopygan.training.pretraining import (
    Pupil,
    encoder_pupil,
    pretrain,
    restorer_pupil,
    sorts_of,
)
from microscopygan.training.pretraining_corrector import pretrain_corrector
from microscopygan.training.run_folder import write_json

CHANNELS = {GENERALIST: (16, 32, 96), "generalist-large": (48, 96, 256)}
ENCODER, CORRECTOR = "encoder", "corrector"
# Held out: the sources of the demo's test images, and every tenth of the others.
_HELD_OUT = ("neubias_xy_16bit__bacteria", "neubias_xy_16bit__rat", "neubias_xy_8bit__nup")
_HELD_OUT += ("dsb2018_095", "dsb2018_110", "dsb2018_124")


def main() -> None:
    """Train, or go on; then write the weights."""
    options = _options()
    if options.ship is not None:
        ship(options.output, options.ship, options.weights)
        return
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    images = {path.name: path for path in list_images([options.clean] if options.clean else [])}
    train = sorted(name for name in images if not is_held_out(name))
    settings = PretrainingSettings(
        workers=options.workers, laboratories=options.laboratories, restorer_rate=options.rate
    )
    laboratory = LaboratorySettings(field=options.field, common=options.common)
    if ENCODER not in options.pupils:  # images like the clean ones, and measures, are for it
        laboratory = laboratory.model_copy(update={"alike": 0, "measured": False})
    sorts = sorts_of([first_plane(images[name]) for name in train], settings)
    specimens = Specimens(sorts, laboratory)
    if options.pupils == [CORRECTOR]:
        _train_corrector(options, specimens)
        return
    pupils = {name: _pupil(name, options.start, settings) for name in options.pupils}
    pretrain(
        specimens,
        pupils,
        options.output,
        settings,
        laboratory,
        seconds=60 * options.minutes,
        seed=options.seed,
        say=lambda line: print(line, flush=True),
    )
    for name, pupil in pupils.items():
        _write(options.output / f"{name}.safetensors", pupil)
    about = _about(options, settings, laboratory, images, train)
    (options.output / "run.json").write_text(json.dumps(about, indent=1))


def _train_corrector(options: argparse.Namespace, specimens: Specimens) -> None:
    pretrain_corrector(
        specimens,
        options.output,
        60 * options.minutes,
        laboratories=options.laboratories,
        workers=options.workers,
        seed=options.seed,
        device="cuda" if torch.cuda.is_available() else "cpu",
        without=options.without,
        tried=options.tried,
    )


def is_held_out(name: str) -> bool:
    """Tell whether an image is not trained on."""
    return name.startswith(_HELD_OUT) or (name.startswith("dsb2018") and name[10] == "8")


def _pupil(name: str, start: list[Path], settings: PretrainingSettings) -> Pupil:
    earlier = _earlier(name, start)
    if name == ENCODER:
        pupil = encoder_pupil(settings)
        if earlier is not None:
            pupil.network.load_state_dict(read_tensors(earlier)[1])
        return pupil
    architecture = RestorerArchitecture(channels=CHANNELS[name], hints=STAGES, planes=3)
    if earlier is None:
        return restorer_pupil(UNetRestorer(architecture), settings)
    network = load_restorer(earlier)
    assert isinstance(network, UNetRestorer)
    return restorer_pupil(grown(network, architecture), settings)


def _earlier(name: str, start: list[Path]) -> Path | None:
    """Return the weights that a network starts from, None where it starts anew."""
    found = (folder / f"{name}.safetensors" for folder in start)
    return next((path for path in found if path.exists()), None)


def _write(path: Path, pupil: Pupil) -> None:
    network = pupil.averaged()
    if isinstance(network, UNetRestorer):
        save_restorer(path, network)
    else:
        write_tensors(path, network.state_dict(), {"stages": list(STAGES)})


def ship(run: Path, share: float, weights: Path) -> None:
    """Write the generalist of a run, or a mean of it and of the last, into a folder of weights."""
    from microscopygan.training.export_onnx import export_restorer, receptive_field

    network = load_restorer(run / f"{GENERALIST}.safetensors").eval()
    assert isinstance(network, UNetRestorer)
    about, architecture = json.loads((run / "run.json").read_text()), network.architecture
    if share < 1:
        last = load_restorer(weights / RESTORER.name)
        assert isinstance(last, UNetRestorer)
        about |= {"mixing_weight": share, "mixed_with": _digest(weights / RESTORER.name)}
        trained, former = network.state_dict(), grown(last, architecture).state_dict()
        mean = {name: torch.lerp(value, trained[name], share) for name, value in former.items()}
        network.load_state_dict(mean)
    told = (
        "mixing_weight",
        "commit",
        "machine",
        "minutes",
        "seed",
        "started_from",
        "settings",
        "laboratories",
    )
    card = ModelCard(
        name=GENERALIST,
        program=__version__,
        planes=architecture.planes,
        halo=receptive_field(network, network.multiple, architecture.planes),
        multiple=network.multiple,
        defects=architecture.hints,
        hints=architecture.hints,
        training={name: about[name] for name in told if name in about},
    )
    export_restorer(network, weights / MODELS[GENERALIST].path.name, card)
    save_restorer(weights / RESTORER.name, network)
    write_json(weights / f"{GENERALIST}.json", about)


def _about(
    options: argparse.Namespace,
    settings: PretrainingSettings,
    laboratory: LaboratorySettings,
    images: dict[str, Path],
    train: list[str],
) -> dict[str, object]:
    """State what was trained on what, with which versions, for how long."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    start = [path for name in options.pupils if (path := _earlier(name, options.start))]
    return {
        "program": {name: _version(name) for name in ("microscopygan", "torch", "numpy")},
        "commit": options.commit,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {gpu}",
        "minutes": options.minutes,
        "seed": options.seed,
        "settings": settings.model_dump(mode="json"),
        "laboratories": laboratory.model_dump(mode="json"),
        "started_from": {path.name: _digest(path) for path in start},
        "clean": {name: _digest(images[name]) for name in train},
        "held_out": {name: _digest(images[name]) for name in sorted(set(images) - set(train))},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from source"


def first_plane(path: Path) -> np.ndarray:
    """Read an image, and of several planes the first, (Y, X) float32."""
    image = read(path)
    return np.asarray(to_planes(image.array, image.axes)[0][0], np.float32)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clean", type=Path, nargs="?", help="folder of clean images")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--minutes", type=float, default=60.0, help="of training, in all")
    parser.add_argument(
        "--pupils",
        nargs="+",
        choices=[*CHANNELS, ENCODER, CORRECTOR],
        default=[*CHANNELS, ENCODER],
        help="what is trained; the corrector only by itself",
    )
    parser.add_argument(
        "--from",
        dest="start",
        nargs="+",
        type=Path,
        default=[],
        help="folders of weights to start from; of each network the first that there is",
    )
    parser.add_argument(
        "--common", type=float, default=0.0, help="share of laboratories of a common defect"
    )
    parser.add_argument("--laboratories", type=int, default=24, help="in a step")
    parser.add_argument("--rate", type=float, default=1e-3, help="of a restorer, at its peak")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--threads", type=int, default=1, help="of the networks, on a processor")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--field", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--without", nargs="*", default=(), help="stages that no corrector sees")
    parser.add_argument("--tried", type=int, default=12, help="laboratories it is tried on")
    parser.add_argument("--ship", type=float, help="write what is in RUN to the package")
    parser.add_argument(
        "--weights", type=Path, default=RESTORER.parent, help="its folder of weights"
    )
    parser.add_argument("--commit", default="", help="to record")
    options = parser.parse_args()
    if CORRECTOR in options.pupils and len(options.pupils) > 1:
        parser.error("expected the corrector by itself, got other pupils; give another command")
    return options


if __name__ == "__main__":
    main()

"""A model as a package of BioImage.IO: a zip of its description, network, test images and text."""

from __future__ import annotations

import hashlib
import io
import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import onnx
import onnxruntime
import yaml
from numpy.typing import NDArray

from ... import __version__
from ...defects import all_defects
from ...image.atomic import whole
from ...image.formats import open_image
from ...image.image import check_finite
from ...image.intensity import AffineMap, fit_affine, percentile_map
from ...image.tiles import margin
from ...model_card import ModelCard
from ..model import Restorer
from .graph import INPUT, OUTPUT, restoring_model

NETWORK, OWN_MODEL, DESCRIPTION = "network.onnx", "restorer.onnx", "rdf.yaml"
_FORMAT = "0.5.4"  # as old as does: Java programs read no newer form of files and texts
_SMALLEST = 16  # pixels a side that are promised where whole planes are restored
_SIDE = 256  # pixels; of the test image at most
_SAMPLE = "dsb2018_124"  # no licence to pass on, and the generalist was not trained on it
_TOLERANCE = 1e-5  # of the range
_DATE = (2020, 1, 1, 0, 0, 0)  # of all files, so that equal models give equal packages
_PAPER = (
    "A. Razdaibiedina, J. Velayutham, M. Modi: Multi-defect microscopy image restoration under "
    "limited data conditions (2019)"
)


def parse_scale(text: str) -> AffineMap | None:
    """Read ``image``, or two intensities such as ``100,4000`` that become 0 and 1.

    Raises
    ------
    ValueError
        Anything else.

    Examples
    --------
    >>> parse_scale("100,4000")
    AffineMap(offset=100.0, scale=3900.0)
    """
    if text == "image":
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(
            "scale: expected image, or the intensities low,high that become 0 and 1, such as "
            f"100,4000, got {text!r}"
        )
    return AffineMap(low, high - low)


def export_bioimageio(
    model: Path | str,
    output: Path,
    *,
    scale: AffineMap | None = None,
    defect: str | Iterable[str] = (),
    strength: float = 1.0,
    image: Path | str | None = None,
    psnr: Mapping[str, tuple[float, float]] | None = None,
    overwrite: bool = False,
) -> float:
    """Write a package that restores as this program does, and that this program reads back.

    Parameters
    ----------
    model
        The name of a model that ships, or a ``restorer.onnx``.
    output
        The ``.zip`` file, which appears whole or not at all.
    scale
        One intensity map for all images, which are restored tile by tile; where not given, the
        percentiles of each plane, which is restored as a whole.
    defect, strength
        As for `Restorer`; they become part of the network.
    image
        Its middle becomes the test image; a sample with a simulated defect where not given.
    psnr
        What is known of the model, for its text: by defect, of images never trained on, before and
        after, in dB after an affine fit.
    overwrite
        Replace a file that is there.

    Returns
    -------
    float
        Largest difference between the package's network and this program on the test image, as a
        fraction of the range.

    Raises
    ------
    ValueError
        A model that is not of this program, or options that do not fit it or the image.
    FileExistsError
        The output is there.
    RuntimeError
        That difference is above 1e-5.
    """
    output = Path(output)
    if not output.name.lower().endswith(".zip"):
        raise ValueError(f"{output}: expected a name that ends in .zip")
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists; choose another name or allow overwriting")
    restorer = Restorer(model, "cpu", defect=defect, strength=strength)
    own = restorer.content()
    network = onnx.load_from_string(own)
    card = restorer.card
    if not restorer.own:
        raise ValueError(f"{model}: expected a model of MicroscopyGAN, got one of another program")
    bad, good = _test_planes(card, image)
    if min(bad.shape) < _least(card, scale):
        raise ValueError(
            f"{image}: expected an image of at least {_least(card, scale)} pixels a side, got "
            f"{bad.shape}"
        )
    graph = restoring_model(network, card, restorer.hint, restorer.strength, scale)
    restored = _run(graph, bad)
    difference = _difference(restored, bad, restorer, scale)
    if difference > _TOLERANCE:
        raise RuntimeError(f"the exported network differs by {difference:.2g} of the range")
    content = {
        NETWORK: graph.SerializeToString(),
        OWN_MODEL: own,
        "test_image.npy": _npy(bad),
        "test_restored.npy": _npy(restored),
        "cover.png": _cover(bad, restored),
        "README.md": _documentation(
            restorer, _weights(network), scale, _gain(bad, restored, good) + _figures(psnr or {})
        ).encode(),
    }
    about = _description(restorer, graph, scale, content)
    text = yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=100)
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole(output) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in ({DESCRIPTION: text.encode()} | content).items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)
    return difference


def _test_planes(
    card: ModelCard, image: Path | str | None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return a defective plane, at most 256 pixels a side, and without the defect if known."""
    if image is not None:
        return _middle(image), None
    with as_file(files("microscopygan") / "samples" / "clean" / f"{_SAMPLE}.tif") as sample:
        clean = _middle(sample)
    scale, rng = percentile_map(clean), np.random.default_rng(0)
    for name in card.defects:
        if name in (there := all_defects()):
            bad = there[name].draw(rng).apply(scale.apply(clean), rng)
            return scale.undo(np.asarray(bad, np.float32)), clean
    return clean, None


def _middle(path: Path | str) -> NDArray[np.float32]:
    """Return the middle of the middle plane of an image."""
    image = open_image(path)
    key: list[int | slice] = []
    for letter, length in zip(image.axes, image.array.shape, strict=True):
        side = min(length, _SIDE)
        first = (length - side) // 2
        key.append(slice(first, first + side) if letter in "YX" else length // 2)
    plane = np.asarray(image.array[tuple(key)], np.float32)
    check_finite(plane, str(path))
    return np.ascontiguousarray(plane if image.axes.index("Y") < image.axes.index("X") else plane.T)


def _least(card: ModelCard, scale: AffineMap | None) -> int:
    """Return the smallest side that the package promises to take: of a tile, it has a core."""
    if scale is None or not card.tileable:
        return _SMALLEST
    return 2 * margin(max(card.halo), card.multiple) + margin(_SMALLEST, card.multiple)


def _run(graph: onnx.ModelProto, plane: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    restored: NDArray[np.float32] = session.run(None, {INPUT: plane[None, None]})[0][0, 0]
    return restored


def _difference(
    restored: NDArray[np.float32],
    plane: NDArray[np.float32],
    restorer: Restorer,
    scale: AffineMap | None,
) -> float:
    card = restorer.card
    to = scale or percentile_map(plane, card.low, card.high)
    expected = to.undo(restorer.restore_plane(to.apply(plane)))
    return float(np.abs(restored - expected).max() / max(np.ptp(expected), 1e-12))


def _npy(plane: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, plane[None, None], allow_pickle=False)
    return file.getvalue()


def _cover(before: NDArray[np.float32], after: NDArray[np.float32]) -> bytes:
    """Return both images side by side on one grey scale, twice as wide as high."""
    side = min(before.shape)
    low, high = np.percentile(after, (0.5, 99.8))
    both = np.hstack([before[:side, :side], after[:side, :side]])
    grey = np.clip((both - low) / max(high - low, 1e-12), 0, 1) * 255
    return bytes(imagecodecs.png_encode(np.rint(grey).astype(np.uint8)))


def _gain(
    bad: NDArray[np.float32], restored: NDArray[np.float32], good: NDArray[np.float32] | None
) -> str:
    """Say how much nearer to the truth the restored test image is, where there is a truth."""
    if good is None:
        return "The truth of the test image is not known."
    values = []
    for plane in (bad, restored):
        x, y = plane.astype(np.float64), good.astype(np.float64)
        error = float(np.mean(fit_affine(x, y).residual(x, y) ** 2))
        values.append(10 * math.log10(np.ptp(y) ** 2 / max(error, 1e-12)))
    return (
        "The test image is a real image with a simulated defect. Its PSNR after an affine fit is "
        f"{values[0]:.1f} dB before and {values[1]:.1f} dB after the restoration."
    )


def _figures(psnr: Mapping[str, tuple[float, float]]) -> str:
    """Show how well other images were restored, where that is known."""
    if not psnr:
        return ""
    rows = "\n".join(f"| {name} | {a:.2f} | {b:.2f} |" for name, (a, b) in psnr.items())
    return (
        "\n\nOf images never trained on, PSNR in dB after an affine fit, means:\n\n"
        f"| defect | before | after |\n|---|---|---|\n{rows}"
    )


def _title(card: ModelCard) -> str:
    name = re.sub(r"[^A-Za-z0-9_+\- ()]", " ", card.name).strip() or "restorer"
    return f"MicroscopyGAN {name}"


def _weights(network: onnx.ModelProto) -> int:
    return sum(math.prod(weight.dims) for weight in network.graph.initializer)


def _intensities(card: ModelCard, scale: AffineMap | None) -> str:
    if scale is None:
        return (
            f"The network finds the percentiles {card.low:g} and {card.high:g} of the plane and "
            "maps them to 0 and 1 and back, so it must see the whole plane at once, not tile by "
            "tile."
        )
    return (
        f"The network maps {scale.offset:g} and {scale.offset + scale.scale:g} to 0 and 1 and "
        "back. It may see the plane tile by tile. Images of another exposure need another package."
    )


def _documentation(restorer: Restorer, weights: int, scale: AffineMap | None, gain: str) -> str:
    """Write the package's README from the model's card."""
    card = restorer.card
    stated = {
        "defects in the training": ", ".join(card.defects),
        "told to the network": ", ".join(restorer.hint) or "nothing, it looks for itself",
        "strength": f"{restorer.strength:g}",
        "weights": f"{weights:,}",
        "reach of the network": "{} × {} pixels".format(*card.halo)
        if card.tileable
        else "the whole plane",
        "planes seen at once": f"{card.planes}, here a plane is its own neighbour"
        if card.planes > 1
        else "1",
        "memory": f"about {card.bytes_per_pixel} bytes a pixel",
        "written by": f"MicroscopyGAN {card.program}, exported by {__version__}",
    }
    table = _table(stated)
    training = _table({name: value for name, value in _flat(card.training) if value != 0})
    return f"""# {_title(card)}

Restores microscopy images with the defects {", ".join(card.defects)}: plane by plane, channel by
channel, any size. A restored image is an estimate: do not measure what it alone shows.

Input and output are float32 with the axes batch, channel, y, x, in the units of the image. Pixels
must be finite. Single hot pixels are to be taken out before.

{_intensities(card, scale)}

| | |
|---|---|
{table}

`{OWN_MODEL}` is the model as MicroscopyGAN itself reads it, with any hint, tiles and stacks:
`microscopygan restore IMAGE --model THIS.zip`. `{NETWORK}` runs in ONNX Runtime alone.

## Training

| | |
|---|---|
{training or "| | not stated |"}

## Validation

{gain}

Validate it on images of your own: restore some of which a good image exists as well, and compare
the two after a linear fit of the intensities (`microscopygan evaluate RESTORED GOOD`). Look for
structures that only one of them shows.

## Licence and citation

{card.licence}.

{_PAPER}, arXiv:1910.14207.
"""


def _flat(stated: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in stated.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name} ")
        else:
            yield f"{above}{name}", value


def _table(rows: Mapping[str, Any]) -> str:
    cells = ((str(cell).replace("|", "/") for cell in row) for row in rows.items())
    return "\n".join("| {} | {} |".format(*row) for row in cells)


def _description(
    restorer: Restorer,
    graph: onnx.ModelProto,
    scale: AffineMap | None,
    content: Mapping[str, bytes],
) -> dict[str, Any]:
    """Describe the package as the specification of BioImage.IO asks for."""
    card = restorer.card

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(content[name]).hexdigest()}

    opset = next(each.version for each in graph.opset_import if each.domain == "")
    return {
        "format_version": _FORMAT,
        "type": "model",
        "name": _title(card),
        "description": f"Restores microscopy images with {', '.join(card.defects)}, plane by plane",
        "authors": [{"name": "MicroscopyGAN contributors"}],
        "cite": [{"text": _PAPER, "doi": "10.48550/arXiv.1910.14207"}],
        "license": "MIT" if card.licence.startswith("MIT") else None,
        "tags": ["restoration", "denoising", "fluorescence", "2d", *card.defects],
        "covers": ["cover.png"],
        "documentation": "README.md",
        "attachments": [file(OWN_MODEL)],
        "inputs": [_tensor(INPUT, _input_axes(card, scale), file("test_image.npy"))],
        "outputs": [_tensor(OUTPUT, _output_axes(card, scale), file("test_restored.npy"))],
        "weights": {"onnx": file(NETWORK) | {"opset_version": opset}},
        "config": {
            "deepimagej": {"allow_tiling": _tiled(card, scale)},
            "microscopygan": {
                "model": OWN_MODEL,
                "program": __version__,
                "scale": "image" if scale is None else [scale.offset, scale.offset + scale.scale],
                "hint": list(restorer.hint),
                "strength": restorer.strength,
            },
        },
    }


def _tensor(name: str, axes: list[dict[str, Any]], test: dict[str, str]) -> dict[str, Any]:
    return {"id": name, "axes": axes, "test_tensor": test, "data": {"type": "float32"}}


def _tiled(card: ModelCard, scale: AffineMap | None) -> bool:
    """Whether tiles give what the whole plane gives."""
    return card.tileable and scale is not None


def _input_axes(card: ModelCard, scale: AffineMap | None) -> list[dict[str, Any]]:
    tiled = _tiled(card, scale)
    size = {"min": _least(card, scale), "step": card.multiple if tiled else 1}
    sides = [
        {"type": "space", "id": letter, "size": dict(size)}
        | ({"concatenable": True} if tiled else {})
        for letter in "yx"
    ]
    return [{"type": "batch"}, {"type": "channel", "channel_names": ["intensity"]}, *sides]


def _output_axes(card: ModelCard, scale: AffineMap | None) -> list[dict[str, Any]]:
    sides: list[dict[str, Any]] = []
    for letter, halo in zip("yx", card.halo, strict=True):
        side = {"type": "space", "id": letter, "size": {"tensor_id": INPUT, "axis_id": letter}}
        reach = {"halo": margin(halo, card.multiple)} if _tiled(card, scale) else {}
        sides.append(side | reach)
    return [{"type": "batch"}, {"type": "channel", "channel_names": ["intensity"]}, *sides]

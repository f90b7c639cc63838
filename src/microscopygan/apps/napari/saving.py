"""Save an image layer with what napari's own writer leaves out: axes, pixel size, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from ...image.formats import write
from ...image.image import Image
from ..restore_options import RestoreOptions
from .layers import image_of


def save_layer(path: str, data: Any, state: Mapping[str, Any]) -> list[str]:
    """Write a layer to an OME-TIFF or an OME-Zarr; lazy pixels are written in parts.

    Parameters
    ----------
    path
        Of the file; its suffix chooses the format. What is there is replaced.
    data
        Pixels; of a pyramid its levels, of which the first is written.
    state
        What napari says of the layer: name, scale, units, axis labels, metadata.

    Raises
    ------
    ValueError
        The axes of three dimensions and more are not known, or it is a colour picture.
    """
    layer = _as_layer(data, state)
    image = image_of(layer, RestoreOptions())
    about = state["metadata"].get("microscopygan")
    provenance = {} if about is None else {"restoration": about}
    write(
        path,
        Image(image.array, image.axes, image.pixel_size, None, provenance=provenance),
        overwrite=True,
    )
    return [path]


def _as_layer(data: Any, state: Mapping[str, Any]) -> Any:
    """Return what `image_of` takes for a layer of napari."""
    first = data[0] if state["multiscale"] else data
    about = {"data": data, "ndim": first.ndim, "dtype": first.dtype}
    about |= {"source": SimpleNamespace(path=None), "scale": state["scale"]}
    names = ("name", "units", "axis_labels", "metadata", "multiscale", "rgb")
    return type("Image", (SimpleNamespace,), {})(**about, **{name: state[name] for name in names})

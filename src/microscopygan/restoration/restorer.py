"""Restore images with a trained ``.onnx`` file; needs ONNX Runtime, not PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime

from ..image.axes import to_planes
from ..image.formats import Image
from ..image.intensity import percentile_map, to_dtype
from ..image.tiles import pad_plane, plan_tiles
from ..modelfile import KEY, ModelCard

_TILE = 512  # pixels; a tile of this size takes about 300 MB


class Restorer:
    """A trained restorer, ready to run.

    Parameters
    ----------
    path
        A ``restorer.onnx`` written by ``microscopygan train``.

    Attributes
    ----------
    card
        What the file says of itself.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Not a model of ours, damaged, or of a newer format.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such model; train one with 'microscopygan train'")
        try:
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            reason = str(error).strip().splitlines()[0][:200]
            raise ValueError(f"{path}: expected an ONNX model, cannot load it ({reason})") from None
        about = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        if about is None:
            raise ValueError(
                f"{path}: expected a MicroscopyGAN restorer, got another ONNX model; give the "
                "restorer.onnx of a run"
            )
        self.card = ModelCard.from_json(about, str(path))

    def restore_plane(self, plane: np.ndarray, *, tile: int = _TILE) -> np.ndarray:
        """Restore one plane on the network's own intensity scale.

        Parameters
        ----------
        plane
            (Y, X) float32 on about 0..1, any size.
        tile
            Side of the tiles in pixels; the result does not depend on it.

        Returns
        -------
        numpy.ndarray
            (Y, X) float32 on the same scale.
        """
        card = self.card
        side = tile if card.tileable else max(plane.shape)
        padded = pad_plane(plane.astype(np.float32), card.halo, card.multiple)
        result = np.empty(plane.shape, np.float32)
        for part in plan_tiles(plane.shape, side, card.halo, card.multiple):
            window = np.ascontiguousarray(padded[part.read])[None, None]
            result[part.core] = self._session.run(None, {"image": window})[0][0, 0][part.crop]
        return result

    def restore(self, image: Image, *, dtype: str = "same", tile: int = _TILE) -> Image:
        """Restore every plane of an image.

        The intensity map is taken from the percentiles of the whole image, channel by channel,
        and undone at the end: the result is on the input's scale.

        Parameters
        ----------
        image
            Any axes of TCZYX; 8/16-bit integers or floats.
        dtype
            ``same`` (integers are rounded and clipped to their range) or ``float32``.
        tile
            Side of the tiles in pixels; the result does not depend on it.

        Returns
        -------
        Image
            Same axes, shape and pixel size.

        Raises
        ------
        ValueError
            Unknown `dtype`.
        """
        if dtype not in ("same", "float32"):
            raise ValueError(f"dtype: expected 'same' or 'float32', got {dtype!r}")
        channel = image.axes.find("C")
        if channel < 0:
            restored = self._restore_array(image.array, image.axes, tile)
        else:
            axes = image.axes.replace("C", "")
            parts = [
                self._restore_array(a, axes, tile) for a in np.moveaxis(image.array, channel, 0)
            ]
            restored = np.moveaxis(np.stack(parts), 0, channel)
        wanted = image.array.dtype if dtype == "same" else np.dtype(np.float32)
        return replace(image, array=to_dtype(restored, wanted))

    def _restore_array(self, array: np.ndarray, axes: str, tile: int) -> np.ndarray:
        planes, back = to_planes(array, axes)
        scale = percentile_map(planes, self.card.low, self.card.high)
        restored = [scale.undo(self.restore_plane(scale.apply(p), tile=tile)) for p in planes]
        return back(np.stack(restored))

"""A trained restorer: one ``.onnx`` file and the ONNX Runtime session that runs it."""

from __future__ import annotations

import copy
import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..image.formats import TIMEOUT
from ..image.lazy import one_line
from ..image.tiles import pad_plane, plan_tiles
from ..model_card import KEY, ModelCard, check_digest
from . import Device
from .models import GENERALIST, MODELS
from .plan import processors

if TYPE_CHECKING:
    from .bioimageio.reading import Package

DEVICES: dict[Device, str] = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}  # in the order in which "auto" takes them

# Full single precision, so that tiles agree to 1e-5; and no search for algorithms at each new
# window size, which would cost more than it gains.
_OPTIONS: dict[str, dict[str, str]] = {
    "cuda": {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
    "coreml": {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"},
}
_TILE = 1024  # pixels; a tile of this size takes about 600 MB
_PATIENCE = 10  # time limits for a megapixel, which takes a second or less
_BATCH = 512 * 512  # pixels that go through the network at once where windows are smaller
_BATCH_MEMORY = 280 * _BATCH  # bytes that they take at most, whatever the network needs for a pixel
_NO_MEMORY = ("alloc", "out of memory", "outofmemory", "not enough memory", "available memory")


_RESTORER = "restorer.onnx"  # of a run
_WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".h5", ".keras")  # of networks in training
AUTO = "auto"  # as a hint: it is to be found out


class Restorer:
    """A trained restorer, ready to run. One may be used by several threads at a time.

    It can be sent to other processes, where it opens the file again.

    Parameters
    ----------
    model
        The name of a model that ships, the folder of a run or a ``restorer.onnx`` written by
        ``microscopygan train``, or a package of BioImage.IO (``.zip``).
    device
        ``cpu``, ``cuda``, ``coreml``, ``directml`` or ``openvino``, as far as the installed ONNX
        Runtime has them; ``auto`` takes the fastest of them.
    threads
        Threads of the network, as many as processors where not given. The result does not
        depend on it.
    defect
        A hint: which of the defects ``card.hints`` the images have, one name or several, also as
        one text (``haze,noise``); where not given, the network looks for itself. ``auto``:
        `restore` and `restore_file` find out for each image.
    strength
        0 gives the input back, 1 the network's result; between them, a mixture of both.
    timeout
        Ten times as many seconds may a window take, and a megapixel of a larger one.

    Attributes
    ----------
    card
        What the file says of itself.
    device
        The device in use.
    path
        The file.
    hint
        The defects that the images are said to have.
    finds_hint
        They are to be found out for each image; `hint` is empty.
    smallest
        Side of the smallest plane that the network takes, in pixels.
    own
        Whether the model is of this program; packages may hold others.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Not a model of ours, damaged, or of a newer format; or a device that is not there; or
        a defect that the model takes no hint of, or a strength outside 0 to 1.
    """

    card: ModelCard
    device: Device
    path: Path
    hint: tuple[str, ...]
    finds_hint: bool
    smallest: int
    own: bool

    def __init__(
        self,
        model: Path | str = GENERALIST,
        device: Device = "auto",
        threads: int | None = None,
        defect: str | Iterable[str] = (),
        strength: float = 1.0,
        timeout: float = TIMEOUT,
    ) -> None:
        shipped = MODELS.get(str(model))
        self.path = shipped.path if shipped else _file(Path(model).absolute())
        if not self.path.is_file():
            raise FileNotFoundError(
                f"{model}: no such model; expected a file or one of {', '.join(MODELS)}; train one "
                "with 'microscopygan train'"
            )
        self.threads = processors() if threads is None else threads
        package = _package(self.path)
        source = self.path if package is None else package.content
        self.device, self._session = _open(source, str(model), device, self.threads)
        stated = None if package is None else package.card
        self.card = _card(self._session, str(model)) if stated is None else stated
        self.own, self.smallest = stated is None, 1 if package is None else package.smallest
        check = _mean_output if self.own else _only_output
        self._mean = [check(self._session, self.card, str(model))]
        self._image = self._session.get_inputs()[0]
        self.timeout = timeout
        if self.own:
            stated_digest = shipped.sha256 if shipped else None
            check_digest(self.content(), self.card, str(model), stated_digest)
        self._use(defect, strength)

    def _use(self, defect: str | Iterable[str], strength: float) -> None:
        names = defect_names(defect)
        self.finds_hint = names == (AUTO,) and bool(self.card.hints)
        self.hint = () if self.finds_hint else _hint(names, self.card.hints, self.path.name)
        if not 0 <= strength <= 1:
            raise ValueError(f"strength: expected 0 (the input) to 1 (restored), got {strength}")
        self.strength = float(strength)
        self._hints = np.array([[float(name in self.hint) for name in self.card.hints]], np.float32)

    def with_hint(self, defect: str | Iterable[str] = (), strength: float = 1.0) -> Restorer:
        """Return a restorer of the same open network that has another hint and strength.

        Raises
        ------
        ValueError
            A defect that the model takes no hint of, or a strength outside 0 to 1.
        """
        other = copy.copy(self)
        other._use(defect, strength)
        return other

    def __reduce__(self) -> tuple[type[Restorer], tuple[object, ...]]:
        how = (self.device, self.threads, self.defect, self.strength, self.timeout)
        return Restorer, (self.path, *how)

    @property
    def defect(self) -> str | tuple[str, ...]:
        """What `Restorer` takes as `defect`."""
        return AUTO if self.finds_hint else self.hint

    def content(self) -> bytes:
        """Return the ``.onnx`` file, taken out of its package where it lies in one."""
        package = _package(self.path)
        return self.path.read_bytes() if package is None else package.content

    @property
    def identity(self) -> dict[str, object]:
        """All of it that the pixels of a result depend on, but for the device."""
        return {"model": self.sha256, "defect": list(self.hint), "strength": self.strength}

    @cached_property
    def sha256(self) -> str:
        """Digest of the file, hexadecimal."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def run_windows(
        self, windows: NDArray[np.float32], report: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Run the network.

        Parameters
        ----------
        windows
            (N, planes, Y, X) float32 on about 0..1, Y and X multiples of ``card.multiple``: one
            plane, or as many neighbouring ones as the network sees, the middle one of which is
            restored. Of a network that sees several, one plane is its own neighbour. Small windows
            go through the network several at a time.
        report
            Called with the number of pixels each time some have gone through the network; what
            it raises ends the work.

        Returns
        -------
        numpy.ndarray
            (N, 1, Y, X), restored.

        Raises
        ------
        MemoryError
            Windows of this size need more memory than there is.
        TimeoutError
            The network does not end.
        ValueError
            The network fails, or gives another shape, NaN or infinite pixels.
        """
        most = min(_BATCH, _BATCH_MEMORY // self.card.bytes_per_pixel)
        step = max(1, most // (windows.shape[2] * windows.shape[3]))
        if self._image.shape[0] == 1:  # a network of others that takes one at a time
            step = 1
        parts: list[NDArray[np.float32]] = []
        for first in range(0, len(windows), step):
            some = windows[first : first + step]
            if some.shape[1] < self.card.planes:
                some = np.repeat(some, self.card.planes, 1)
            feed = {self._image.name: np.ascontiguousarray(some, np.float32)}
            if self.card.hints:
                feed["hint"] = np.repeat(self._hints, len(some), 0)
            with self._limited(some) as options:
                parts += self._session.run(self._mean, feed, options)
            _check_result(parts[-1], some, self.path.name)
            if self.strength < 1:
                middle = some[:, some.shape[1] // 2, None]
                parts[-1] = middle + np.float32(self.strength) * (parts[-1] - middle)
            if report is not None:
                report(parts[-1].size)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @contextmanager
    def _limited(self, windows: np.ndarray) -> Iterator[onnxruntime.RunOptions]:
        """End a run of the network that takes too long; say in one line what goes wrong in it."""
        seconds = _PATIENCE * self.timeout * max(1.0, windows.size / 1e6)
        options = onnxruntime.RunOptions()
        watch = threading.Timer(seconds, setattr, (options, "terminate", True))
        watch.daemon = True
        watch.start()
        try:
            yield options
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            if options.terminate:
                raise TimeoutError(
                    f"{self.path.name}: expected windows of {windows.shape} pixels within "
                    f"{seconds:g} s, the network goes on; give a longer --timeout"
                ) from None
            raise _explained(error, windows, self.path.name) from None
        finally:
            watch.cancel()
            watch.join()  # at once: no thread outlives its window

    def restore_plane(self, plane: np.ndarray, *, tile: int = _TILE) -> NDArray[np.float32]:
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
        padded = pad_plane(plane.astype(np.float32), card.multiple)
        result = np.empty(plane.shape, np.float32)
        for part in plan_tiles(plane.shape, side, card.halo, card.multiple):
            window = padded[part.read][None, None]
            result[part.core] = self.run_windows(window)[0, 0][part.crop]
        return result


def _package(path: Path) -> Package | None:
    """Read a package of BioImage.IO; None where the file is no zip."""
    if not path.name.lower().endswith(".zip"):
        return None
    from .bioimageio.reading import read_package

    return read_package(path)


def _card(session: onnxruntime.InferenceSession, file: str) -> ModelCard:
    """Return what an ONNX file of ours says of itself."""
    about = session.get_modelmeta().custom_metadata_map.get(KEY)
    if about is None:
        raise ValueError(
            f"{file}: expected a MicroscopyGAN restorer, got another ONNX model; give the "
            "restorer.onnx of a run"
        )
    return ModelCard.from_json(about, file)


def _only_output(session: onnxruntime.InferenceSession, card: ModelCard, file: str) -> str:
    """Name the output of another program's network, where it takes what its package says."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    takes = [(each.type, each.shape) for each in inputs]
    free = [
        kind == "tensor(float)"
        and len(shape) == 4
        and not any(isinstance(n, int) for n in shape[2:])
        for kind, shape in takes
    ]
    if len(outputs) != 1 or free != [True]:
        raise ValueError(
            f"{file}: expected a network from one float32 image of any size to one, got "
            f"{takes} and {len(outputs)} outputs"
        )
    return str(outputs[0].name)


def _mean_output(session: onnxruntime.InferenceSession, card: ModelCard, file: str) -> str:
    """Name the file's output that the card calls the mean, where the two fit."""
    taken = {each.name: (each.type, list(each.shape)) for each in session.get_inputs()}
    planes = taken["image"][1][1] if len(taken.get("image", ("", []))[1]) == 4 else None
    if planes is not None and (planes != card.planes or planes % 2 != 1):
        raise ValueError(
            f"{file}: expected a model of an odd number of planes, as its card says, got one of "
            f"{planes} and a card of {card.planes}; export it again, or update MicroscopyGAN"
        )
    given = [(each.name, each.type, len(each.shape)) for each in session.get_outputs()]
    wanted = ["image", "hint"] if card.hints else ["image"]
    if list(taken) != wanted or len(given) != len(card.outputs) or "mean" not in card.outputs:
        raise ValueError(
            f"{file}: expected a model with the inputs {', '.join(wanted)} and as many outputs as "
            f"its card names, one of them mean, got {', '.join(taken)} and {len(given)} for "
            f"{', '.join(card.outputs)}; export it again"
        )
    name, kind, dimensions = given[card.outputs.index("mean")]
    sizes = {"image": [None, planes, None, None], "hint": [None, len(card.hints)]}
    fit = [
        type_ == "tensor(float)"
        and [n if isinstance(n, int) else None for n in shape] == sizes[each]
        for each, (type_, shape) in taken.items()
    ]
    if not all(fit) or planes is None or kind != "tensor(float)" or dimensions not in (0, 4):
        raise ValueError(
            f"{file}: expected float32 windows (N, {card.planes}, Y, X) of any size"
            f"{f' and {len(card.hints)} hints' if card.hints else ''}, and as many back, got "
            f"{taken} and {kind} of {dimensions} dimensions; export it again"
        )
    return str(name)


def _check_result(result: np.ndarray, windows: np.ndarray, file: str) -> None:
    """Refuse what no network that restores would give."""
    wanted = (len(windows), 1, *windows.shape[2:])
    if result.shape != wanted or result.dtype != np.float32:
        raise ValueError(
            f"{file}: expected the network to give float32 of {wanted}, got {result.dtype} of "
            f"{result.shape}; export it again"
        )
    if not np.isfinite(result).all():
        raise ValueError(
            f"{file}: expected finite pixels of the network, got NaN or infinite ones; its weights "
            "are damaged, or the image holds extreme values: export it again, or crop the image"
        )


def _explained(error: Exception, windows: np.ndarray, file: str) -> Exception:
    """Return what ONNX Runtime raised, as a `MemoryError` where it says that memory is short."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(word in text for word in _NO_MEMORY):
        return MemoryError(f"windows of {windows.shape} pixels")
    return ValueError(
        f"{file}: expected the network to run, got an error ({one_line(error, 200)}); export it "
        "again, or take another --device"
    )


def defect_names(defect: str | Iterable[str]) -> tuple[str, ...]:
    """Return names of defects, each once.

    Parameters
    ----------
    defect
        Names; a text may hold several, with commas between them.

    Examples
    --------
    >>> defect_names("noise, axial"), defect_names(["noise", "haze+noise"]), defect_names(())
    (('noise', 'axial'), ('noise', 'haze'), ())
    """
    texts = [defect] if isinstance(defect, str) else defect
    names = (name for text in texts for name in re.split(r"\s*[,+]\s*", text.strip()))
    return tuple(dict.fromkeys(names))


def _hint(names: tuple[str, ...], hints: tuple[str, ...], model: str) -> tuple[str, ...]:
    """Return the defects that a network gets as a hint."""
    unknown = [each for each in names if each not in hints]
    if unknown and not hints:
        raise ValueError(f"defect: expected none, since {model} takes no hints, got {unknown[0]!r}")
    if unknown:
        raise ValueError(f"defect: expected some of {', '.join(hints)}, got {unknown[0]!r}")
    return names


def _file(model: Path) -> Path:
    """Return the file of a model; of a run's folder, its restorer."""
    return model / _RESTORER if model.is_dir() else model


def _unlike(file: str, error: Exception) -> str:
    """Say in one line why a file is no restorer."""
    suffix = Path(file).suffix.lower()
    if suffix in _WEIGHTS:
        return (
            f"{file}: expected a restorer (.onnx, or a package, .zip), got weights ({suffix}), "
            f"which training goes on from; {_advice(Path(file).absolute())}"
        )
    reason = str(error).strip().splitlines()[0][:200]
    return (
        f"{file}: expected an ONNX model, cannot load it ({reason}); "
        f"{_advice(Path(file).absolute())}"
    )


def _advice(model: Path) -> str:
    """Name the restorer beside what is none, such as the weights of a run."""
    near = [model.with_suffix(".onnx"), *(folder / _RESTORER for folder in model.parents[:2])]
    there = [path for path in near if path != model and path.is_file()]
    return f"give {there[0]}" if there else f"give a run's folder, or its {_RESTORER}"


def _open(model: Path | bytes, file: str, device: Device, threads: int) -> tuple[Device, Any]:
    """Open a session on a device; return the device's name, too."""
    name = _device(device)
    providers = [(DEVICES[name], _OPTIONS.get(name, {}))]
    if name != "cpu":  # for the operations that the device lacks
        providers.append((DEVICES["cpu"], {}))
    try:
        session = onnxruntime.InferenceSession(model, _session_options(threads), providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        raise ValueError(_unlike(file, error)) from None
    if session.get_providers()[0] == DEVICES[name]:
        return name, session
    if device == "auto":
        return "cpu", session
    raise ValueError(
        f"device: expected {name} to start, but ONNX Runtime cannot use it here (drivers or "
        "libraries are missing); try auto or cpu"
    )


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return the options found best for the default network on two processors.

    Windows of 256 × 2048 to 2048 × 2048 pixels, and small planes together: 1.9 million pixels/s and
    core within 5 %, and 264 bytes a pixel, with memory patterns and without (without patterns and
    arena: 10 % slower). Threads that wait actively cost 20 % where other programs run. Graph
    optimisations below "all": 15 % slower. One to five threads, any batch and any place of a window
    gave the same bytes.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong is raised
    return options


def _device(device: Device) -> Device:
    """Name the device that a user's choice stands for."""
    there = set(onnxruntime.get_available_providers())
    available = [name for name, provider in DEVICES.items() if provider in there]
    if device == "auto":
        return available[0]
    if device not in available:
        raise ValueError(
            f"device: expected one of auto, {', '.join(available)} (what the installed ONNX "
            f"Runtime has), got {device!r}; install another onnxruntime package for more"
        )
    return device

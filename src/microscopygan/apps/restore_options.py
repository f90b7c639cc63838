"""The options of ``microscopygan restore``: what a window shows, a command says, a file keeps."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import __version__
from ..image.formats import TIMEOUT, Compression, Ngff
from ..restoration import Device, DtypeName, HotPixels, Neighbours, Scope, TaskName
from ..restoration.models import GENERALIST
from ..settings import explain

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

# Of files as they are stored, and of machines: no matter of an image in a window or on a page.
NOT_IN_WINDOWS = ("compression", "pyramid", "ngff", "workers", "scheduler", "timeout")


class RestoreOptions(BaseModel):
    """How images are restored; each field is the long option of the same name.

    Texts are those of the command line, such as ``0.5,0.1,0.1`` for ``--voxel-size``; so are lists.

    Raises
    ------
    ValueError
        A value that cannot be.

    Examples
    --------
    >>> options = RestoreOptions(defect="noise,axial", task="axial", voxel_size="0.5,0.1,0.1")
    >>> options.arguments()["pixel_size"]
    {'Z': 0.5, 'Y': 0.1, 'X': 0.1}
    >>> options.words()
    ['--defect', 'noise,axial', '--task', 'axial', '--voxel-size', '0.5,0.1,0.1']
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )

    model: str = Field(
        GENERALIST, description="one that ships, restorer.onnx of a run, or a package"
    )
    defect: str | None = Field(None, description="what the images have: noise,axial; or auto")
    strength: float = Field(1.0, ge=0, le=1, description="0 (the input) to 1 (restored)")
    task: TaskName = Field("plane", description="plane by plane, or stacks become isotropic")
    axes: str | None = Field(None, description="letters of TCZYX")
    voxel_size: str | None = Field(None, description="z,y,x in µm")
    channels: str | None = Field(None, description="such as 0,2; the others are copied")
    intensity: Scope = Field("volume", description="what one intensity map covers")
    dtype: DtypeName = Field("auto", description="auto: as the input, float32 of few grey levels")
    keep_sampling: bool = Field(False, description="axial task: return to the input's planes")
    hot_pixels: HotPixels = Field("auto", description="auto: mended where there clearly are some")
    neighbours: Neighbours = Field("auto", description="planes beside: where they correlate")
    memory: str | None = Field(None, description="such as 2GB; half of what is free if not given")
    device: Device = Field("auto", description="what the network runs on")
    threads: int | None = Field(None, ge=1, description="threads of each worker")
    compression: Compression = Field("auto", description="of TIFF and Zarr; auto: as the input")
    pyramid: bool = Field(False, description="smaller copies in OME-TIFF, as Zarr always has")
    ngff: Ngff = Field("0.5", description="version of OME-Zarr; many programs read 0.4 only")
    workers: int = Field(1, ge=1, description="processes; several need a Zarr output")
    scheduler: str | None = Field(None, description="tcp://... of a Dask cluster")
    timeout: float = Field(
        TIMEOUT, gt=0, allow_inf_nan=False, description="seconds without an answer of a server"
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**{name: _joined(value) for name, value in values.items()})
        except ValidationError as error:
            raise ValueError(_explained(error)) from None
        self.arguments()

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `restore_file`, the files apart.

        Raises
        ------
        ValueError
            A text that does not say what it should.
        """
        texts = self.model_dump(exclude={"voxel_size"})
        parsed: dict[str, Any] = {"defect": () if self.defect is None else self.defect}
        if self.channels is not None:
            parsed["channels"] = parse_channels(self.channels)
        if self.memory is not None:
            parsed["memory"] = parse_bytes(self.memory)
        size = None if self.voxel_size is None else parse_voxel_size(self.voxel_size)
        return texts | parsed | {"pixel_size": size}

    def changed(self, **values: Any) -> RestoreOptions:
        """Return the options with others instead of some."""
        return RestoreOptions(**(self.model_dump(exclude_unset=True) | values))

    def stated(self) -> dict[str, Any]:
        """Return by long name, without dashes before it, what differs from the defaults."""
        return self.model_dump(by_alias=True, exclude_defaults=True)

    def words(self) -> list[str]:
        """Return the words of a command line that say what differs from the defaults."""
        words = []
        for name, value in self.stated().items():
            words += [f"--{name}"] if value is True else [f"--{name}", f"{value}"]
        return words

    def command(self, images: Iterable[Path | str], output: Path | str) -> str:
        """Return the command that does the same, to be pasted into this system's shell."""
        words = ["microscopygan", "restore", *map(str, images), "-o", str(output), *self.words()]
        return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)

    def toml(self) -> str:
        """Return a file for `read_options`: the model, and what differs from the defaults."""
        lines = [
            f"# Options of microscopygan {__version__}; use them by",
            "# microscopygan restore IMAGES --settings THIS_FILE",
        ]
        content = {"model": self.model} | self.stated()
        return "\n".join([*lines, *(f"{k} = {_literal(v)}" for k, v in content.items()), ""])


def combine_options(
    file: Path | None, given: Mapping[str, Any], environment: Mapping[str, Any]
) -> RestoreOptions:
    """Return the options of a command: those given, before a file's, before the environment's.

    Parameters
    ----------
    file
        See `read_options`; None where there is none.
    given, environment
        Values by the name of the field.
    """
    content = {} if file is None else read_options(file).model_dump(exclude_unset=True)
    return RestoreOptions(**{**environment, **content, **given})


def read_options(path: Path) -> RestoreOptions:
    """Read a TOML file of options of ``microscopygan restore``, each by its long name.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        It is no TOML, has a name that is no such option, or a value that cannot be; the line names
        it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a TOML file of options")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return RestoreOptions(**content)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: expected a TOML file of options, got {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def label_of(name: str) -> str:
    """Return what a field of the options is called in the window: its long option.

    Examples
    --------
    >>> label_of("voxel_size")
    'Voxel size'
    """
    return name.replace("_", " ").capitalize()


def in_window(line: str) -> str:
    """Return a line with the options in it called as in the window.

    Examples
    --------
    >>> in_window("a: expected to know the axes; give --axes ZYX or CYX")
    'a: expected to know the axes; give “Axes” ZYX or CYX'
    """
    return re.sub(r"--([a-z-]+)", lambda found: f"“{label_of(found[1].replace('-', '_'))}”", line)


def _joined(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _literal(value: Any) -> str:
    """Write a value as TOML does."""
    if isinstance(value, str):
        plain = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{plain}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _explained(error: ValidationError) -> str:
    """Say in one line which option is wrong, what it expects, and what came."""
    problem = error.errors()[0]
    if problem["type"] == "extra_forbidden":
        names = ", ".join(name.replace("_", "-") for name in RestoreOptions.model_fields)
        return f"expected one of {names}, got {problem['loc'][0]!r}"
    return explain(error)


def parse_bytes(text: str) -> int:
    """Read a size of memory such as ``2GB``, ``1500 MB`` or a number of bytes.

    Examples
    --------
    >>> parse_bytes("1.5GB")
    1500000000
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", text.upper())
    unit = "" if found is None else found[2].rstrip("B") + "B"
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"memory: expected a size such as 2GB or 1500MB, got {text!r}")
    return int(float(found[1]) * _UNITS[unit])


def parse_channels(text: str) -> tuple[int, ...]:
    """Read channel numbers such as ``0,2``.

    Examples
    --------
    >>> parse_channels("0,2")
    (0, 2)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"channels: expected numbers from 0 on such as 0,2, got {text!r}"
        ) from None


def parse_voxel_size(text: str) -> dict[str, float]:
    """Read pixel sizes in µm, ``z,y,x`` or ``y,x``.

    Examples
    --------
    >>> parse_voxel_size("0.5,0.1,0.1")
    {'Z': 0.5, 'Y': 0.1, 'X': 0.1}
    """
    try:
        sizes = [float(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) not in (2, 3) or not all(0 < size < float("inf") for size in sizes):
        raise ValueError(
            f"voxel size: expected positive z,y,x (or y,x) in µm such as 0.5,0.1,0.1, got {text!r}"
        )
    return dict(zip("ZYX"[-len(sizes) :], sizes, strict=True))

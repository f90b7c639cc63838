"""Write a text file completely or not at all."""

import os
import tempfile
from pathlib import Path


def write_text(path: Path, text: str, *, overwrite: bool = False) -> Path:
    """Write `text` (UTF-8) beside `path` and move it there in one step.

    Parameters
    ----------
    path
        File to make; its folder is made where missing.
    text
        The whole content.
    overwrite
        Replace a file that is there.

    Returns
    -------
    `path`.

    Raises
    ------
    FileExistsError
        `path` exists and `overwrite` is not set.
    OSError
        The folder cannot be written to.
    """
    if path.is_dir():
        raise FileExistsError(f"expected a file name to write, got the folder {path}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name or allow overwriting")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path

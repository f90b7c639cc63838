"""What a command needs beyond a base installation, and how it says a line."""

import os
import sys
from importlib.util import find_spec

EXTRAS = {
    "evaluate": {"scipy": "SciPy", "skimage": "scikit-image"},
    "export": {"onnx": "ONNX"},
    "train": {
        "torch": "PyTorch",
        "accelerate": "Accelerate",
        "safetensors": "safetensors",
        "onnx": "ONNX",
        "onnxscript": "onnxscript",
        "tensorboard": "TensorBoard",
        "sklearn": "scikit-learn",
        "scipy": "SciPy",
        "skimage": "scikit-image",
    },
    "web": {"starlette": "Starlette", "uvicorn": "uvicorn"},
}


def need(extra: str, purpose: str) -> None:
    """Check that everything an extra brings is installed, without importing it.

    Parameters
    ----------
    extra
        ``evaluate``, ``export``, ``train`` or ``web``, as in
        ``pip install "microscopygan[EXTRA]"``.
    purpose
        What needs it; the line begins with it.

    Raises
    ------
    ModuleNotFoundError
        Something is missing; the line names the first such package and the command to try.
    """
    for package, title in EXTRAS[extra].items():
        if find_spec(package) is None:
            raise ModuleNotFoundError(
                f"{purpose} needs {title}, which is not installed; "
                f"try: pip install 'microscopygan[{extra}]'"
            )


def one_line(error: BaseException) -> str:
    """Say what an exception says in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return printable(f"{error.filename}: {error.strerror}")
    return printable(" ".join(str(error).split())) or type(error).__name__


def printable(text: str) -> str:
    r"""Write what steers a terminal, as names of files may hold it, as it is written in Python.

    Examples
    --------
    >>> print(printable("\x1b[31ma.tif"))
    \x1b[31ma.tif
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def say(line: str) -> None:
    """Print a line; that nobody reads any more what is printed ends no work."""
    try:
        print(printable(line), flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)

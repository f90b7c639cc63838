"""What a command needs beyond a base installation."""

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

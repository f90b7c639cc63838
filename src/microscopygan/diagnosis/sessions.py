"""The files of a diagnosis that ship, each opened once."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

KEY = "stages"  # of a file's metadata: the stages that it tells apart, in the order of its logits


@cache
def session(name: str):  # type: ignore[no-untyped-def]
    """Return the session of an ONNX file of the package's weights.

    Parameters
    ----------
    name
        Of the file.

    Returns
    -------
    onnxruntime.InferenceSession
        On the processor, with threads that do not wait actively, which costs others.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    content = (files("microscopygan") / "weights" / name).read_bytes()
    return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])


@cache
def stages_of(name: str) -> tuple[Any, ...]:
    """Return what a file says of the stages that it tells apart.

    Parameters
    ----------
    name
        Of the file.
    """
    return tuple(json.loads(session(name).get_modelmeta().custom_metadata_map[KEY]))

"""The deployed model: one ONNX file, run over planes and stacks without PyTorch.

The choices that a user has are listed here, for menus of every kind.
"""

from typing import Literal

TaskName = Literal["plane", "axial"]
Scope = Literal["volume", "frame", "image", "none"]
DtypeName = Literal["auto", "same", "float32"]
HotPixels = Literal["auto", "keep", "mend"]
Neighbours = Literal["auto", "z", "t", "none"]
Device = Literal["auto", "cpu", "cuda", "coreml", "directml", "openvino"]

"""The deployed model: one ONNX file, run over planes and stacks without PyTorch."""

"""From images to a trained restorer: stages, split, batches, validation, export (PyTorch)."""

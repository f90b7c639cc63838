"""What is wrong with images: which stages of the light path spoil them, and how much."""

from .findings import Diagnosis, Finding, Posterior, diagnose

__all__ = ["Diagnosis", "Finding", "Posterior", "diagnose"]

"""What a diagnosis says: the stages of the light path that spoil images, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..defects import Defect, all_defects
from ..defects.composition import Composition
from ..defects.statistics import check_planes
from .encoder import Reading, read_set
from .parameters import Parameter, parameters

PRESENT = 0.5  # probability from which a stage counts as there
_POSSIBLE = 0.1  # probability below which a stage is not drawn
_SHARPER = 1.3  # exponent of the bins' probabilities, which are flatter than they should be
_NONE = 0.5  # probability of the lowest bin from which an amount counts as nothing

Planes = Sequence[NDArray[np.generic]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Posterior:
    """What is known of a parameter: the probability of each bin of its range.

    Attributes
    ----------
    parameter
        Whose it is.
    weights
        (bins,), of sum 1.
    """

    parameter: Parameter
    weights: Floats

    def quantile(self, share: float) -> float:
        """Return the value below which the parameter lies with a probability.

        Parameters
        ----------
        share
            Probability, 0 to 1.

        Returns
        -------
        float
            In the parameter's unit.
        """
        reached = np.concatenate([[0.0], np.cumsum(self.weights)])
        edges = np.linspace(0, 1, len(reached))
        return float(self.parameter.range.value(float(np.interp(share, reached, edges))))

    @property
    def middle(self) -> float:
        """The median; the range's low end where that means nothing of the kind, and likely."""
        low = self.parameter.range.low
        if low == 0 and self.parameter.bins > 2 and self.weights[0] > _NONE:
            return 0.0
        if self.parameter.range.spacing == "integer":
            return float(low + np.argmax(self.weights) * self._integers_a_bin)
        return self.quantile(0.5)

    def interval(self, share: float = 0.9) -> tuple[float, float]:
        """Return the central interval with a probability.

        In the first and the last bin it reaches to the end of the range: what is absent, or beyond
        the range, lies there.

        Parameters
        ----------
        share
            Probability, 0 to 1.

        Returns
        -------
        low, high : float
            In the parameter's unit.
        """
        outside, ends = (1 - share) / 2, self.parameter.range
        low = ends.low if self.weights[0] >= outside else self.quantile(outside)
        return low, ends.high if self.weights[-1] >= outside else self.quantile(1 - outside)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a value.

        Parameters
        ----------
        rng
            Source of randomness.
        """
        bin_ = rng.choice(len(self.weights), p=self.weights)
        if bin_ == 0 and self.parameter.range.low == 0 and self.weights[0] > _NONE:
            return 0.0
        position = (bin_ + rng.random()) / len(self.weights)
        return float(self.parameter.range.value(position))

    @property
    def _integers_a_bin(self) -> float:
        span = self.parameter.range.high - self.parameter.range.low + 1
        return span / self.parameter.bins


@dataclass(frozen=True)
class Finding:
    """One stage of the light path.

    Attributes
    ----------
    stage
        Name of a defect.
    probability
        That the images have it, 0 to 1.
    parameters
        What is known of its parameters, if it is there.
    """

    stage: str
    probability: float
    parameters: dict[str, Posterior]

    @property
    def kind(self) -> type[Defect]:
        """The defect's class."""
        return all_defects()[self.stage]

    def most_likely(self) -> Defect:
        """Return the defect with the middle of each parameter."""
        rng = np.random.default_rng(0)
        return self.kind.draw(rng, **{k: self._of_field(k, p.middle) for k, p in self._items()})

    def draw(self, rng: np.random.Generator) -> Defect:
        """Draw the defect's parameters.

        Parameters
        ----------
        rng
            Source of randomness.
        """
        return self.kind.draw(rng, **{k: self._of_field(k, p.draw(rng)) for k, p in self._items()})

    def describe(self) -> str:
        """Say the stage with its middle parameters in words and units."""
        return self.most_likely().describe()

    def _items(self) -> list[tuple[str, Posterior]]:
        return list(self.parameters.items())

    def _of_field(self, name: str, value: float) -> float | int:
        whole = self.kind.model_fields[name].annotation is int
        return round(value) if whole else value


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with some images of one laboratory.

    Attributes
    ----------
    findings
        Every stage that can be told, the most probable first.
    images
        How many images it is drawn from.
    """

    findings: tuple[Finding, ...]
    images: int

    @property
    def present(self) -> tuple[Finding, ...]:
        """The stages that are there more likely than not, in the order of the light path."""
        found = {f.stage: f for f in self.findings if f.probability >= PRESENT}
        return tuple(found[name] for name in all_defects() if name in found)

    def probability(self, stage: str) -> float:
        """Return how likely a stage is, 0 to 1; 0 for one that cannot be told.

        Parameters
        ----------
        stage
            Name of a defect.
        """
        return next((f.probability for f in self.findings if f.stage == stage), 0.0)

    def draw(self, rng: np.random.Generator, temper: float = 1.0) -> Composition:
        """Draw what may be wrong: each stage by its probability, the likeliest at least.

        Parameters
        ----------
        rng
            Source of randomness.
        temper
            Exponent of the probabilities: below 1, unlikely stages are drawn more often.

        Returns
        -------
        Composition
            In the order of the light path.
        """
        likely = [f for f in self.findings if f.probability**temper > _POSSIBLE]
        chosen = [f for f in likely if rng.random() < f.probability**temper]
        chosen = chosen or [self.findings[0]]
        return Composition.ordered([f.draw(rng) for f in chosen])


def diagnose(defective: Planes, clean: Planes = (), *, seed: int = 0) -> Diagnosis:
    """Find out what is wrong with images of one laboratory.

    Parameters
    ----------
    defective : sequence of arrays, each (Y, X)
        One image or more, with the same defect, of any size and in any units.
    clean : sequence of arrays, each (Y, X)
        Clean images, best of the same sort of specimen; they tell a blurred image from a smooth
        specimen.
    seed : int
        Of the choice of what is looked at.

    Returns
    -------
    Diagnosis
        Stages with probabilities, and parameters with intervals.

    Raises
    ------
    ValueError
        No image, one that is not a plane, or one with NaN or infinite pixels.
    """
    check_planes("images", defective, 1)
    if len(clean):
        check_planes("clean images", clean, 1)
    reading = read_set(defective, clean, np.random.default_rng([seed, 8]))
    return Diagnosis(_findings(reading), len(defective))


def _findings(reading: Reading) -> tuple[Finding, ...]:
    """Combine what was seen at each place."""
    odds = reading.stages.mean(axis=0)
    probability = 1 / (1 + np.exp(-odds))
    known = {(p.stage, p.name): p for p in parameters()}
    found = []
    for index, stage in enumerate(reading.names):
        posteriors = {
            name: Posterior(known[stage, name], _weights(reading.parameters[owner, name]))
            for owner, name in reading.parameters
            if owner == stage
        }
        found.append(Finding(stage, float(probability[index]), posteriors))
    return tuple(sorted(found, key=lambda finding: -finding.probability))


def _weights(logs: Floats) -> Floats:
    mean = _SHARPER * logs.mean(axis=0)
    weights = np.exp(mean - mean.max())
    return np.asarray(weights / weights.sum())

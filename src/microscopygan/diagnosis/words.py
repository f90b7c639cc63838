"""A diagnosis in words: what is wrong, in which units, how sure that is, and what undoes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..defects import Defect, all_defects
from ..defects.base import Place
from ..image.intensity import cut_off
from .findings import Diagnosis, Finding, diagnose
from .planes import Channel, Plane

_SURE, _LIKELY = 0.95, 0.8  # probabilities from which these words are used
_DRAWS = 200  # of a finding, which say how certain its numbers are
_ALIKE = 0.2  # part of the draws that must read alike for an interval
_SHARE = 0.9  # probability of an interval
_FEW = 32  # grey levels between the darkest and the brightest, 1st to 99.8th percentile
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_FOUND_BY_FORM = 1.0  # probability of what is counted


@dataclass(frozen=True)
class Said:
    """One thing that is wrong.

    Attributes
    ----------
    name
        Of the defect; of what is no defect of an image's light, a word.
    words
        What it is, with units and, in brackets, where 9 of 10 such values lie.
    probability
        0 to 1; 1 for what is counted rather than inferred.
    remedy
        What undoes it.
    parameters
        By name: the middle, and the ends of the interval, in the parameter's unit.
    """

    name: str
    words: str
    probability: float
    remedy: str
    parameters: dict[str, tuple[float, float, float]]

    @property
    def sure(self) -> str:
        """How sure it is, in words."""
        if self.probability == _FOUND_BY_FORM:
            return "counted"
        named = "perhaps" if self.probability < _LIKELY else "likely"
        named = "almost certain" if self.probability >= _SURE else named
        return f"{named}, {100 * min(self.probability, 0.99):.0f} %"

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        ranges = {
            name: {"middle": _plain(middle), "low": _plain(low), "high": _plain(high)}
            for name, (middle, low, high) in self.parameters.items()
        }
        return {
            "name": self.name,
            "words": self.words,
            "probability": round(self.probability, 4),
            "counted": self.probability == _FOUND_BY_FORM,
            "remedy": self.remedy,
            "parameters": ranges,
        }


@dataclass(frozen=True)
class ChannelDiagnosis:
    """What is wrong with one channel of the images of a laboratory.

    Attributes
    ----------
    channel
        Its name; None where there is one.
    diagnosis
        All stages with their probabilities and parameters.
    said
        What is wrong, in words, the surest first.
    hints
        Those of it that the model takes as a hint.
    planes
        Those that were looked at.
    notes
        What a user should know besides, a sentence each.
    """

    channel: str | None
    diagnosis: Diagnosis
    said: tuple[Said, ...]
    hints: tuple[str, ...]
    planes: tuple[Plane, ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return what is wrong, a line each, and below it what undoes it."""
        lines = []
        for one in self.said:
            lines += [f"{one.words}  ({one.sure})", f"  {one.remedy}"]
        if not lines:
            most = self.diagnosis.findings[0]
            lines = [f"nothing found; most likely would be {most.stage}, {_percent(most)}"]
        return lines + [f"Note: {note}" for note in self.notes]

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "channel": self.channel,
            "planes": len(self.planes),
            "findings": [one.as_dict() for one in self.said],
            "probabilities": {
                one.stage: round(one.probability, 4) for one in self.diagnosis.findings
            },
            "hints": list(self.hints),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class ImageDiagnosis:
    """What is wrong with images of one laboratory; printed, it says so.

    Attributes
    ----------
    images
        Their names.
    channels
        What is wrong with each channel.
    """

    images: tuple[str, ...]
    channels: tuple[ChannelDiagnosis, ...]

    def __str__(self) -> str:
        number = len(self.images)
        lines = [self.images[0] if number == 1 else f"{number} images of one laboratory"]
        for one in self.channels:
            indent = "  "
            if one.channel is not None:
                lines.append(f"  {one.channel}")
                indent = "    "
            lines += [indent + line for line in one.lines()]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "images": list(self.images),
            "channels": [one.as_dict() for one in self.channels],
        }


def say(
    channel: Channel, clean: Sequence[Plane] = (), *, hints: Sequence[str] = (), seed: int = 0
) -> ChannelDiagnosis:
    """Find out what is wrong with a channel, and say it.

    Parameters
    ----------
    channel
        Its planes.
    clean
        Clean planes (Y, X), of the same sort of specimen where there are any.
    hints
        Defects that the model which is to restore takes as a hint.
    seed
        Of the choice of what is looked at.

    Raises
    ------
    ValueError
        As for `diagnose`.
    """
    diagnosis = diagnose(channel.planes, clean, seed=seed)
    seen = {name: kind.seen(channel.planes) for name, kind in all_defects().items()}
    inferred = {finding.stage: finding for finding in diagnosis.present}
    said = []
    for name, kind in all_defects().items():
        words = seen[name]
        if words is not None:
            said.append(Said(name, words, _FOUND_BY_FORM, remedy(kind, hints), {}))
        elif name in inferred:
            said.append(_said(inferred[name], hints))
    named = tuple(one.name for one in said if one.name in hints)
    said = sorted([*said, *counted(channel.planes)], key=lambda one: -one.probability)
    notes = (*channel.notes, *_doubt(inferred, clean))
    return ChannelDiagnosis(channel.name, diagnosis, tuple(said), named, channel.planes, notes)


def _said(finding: Finding, hints: Sequence[str]) -> Said:
    parameters = {
        name: (known.middle, *known.interval(_SHARE)) for name, known in finding.parameters.items()
    }
    words = with_intervals(finding, np.random.default_rng(0))
    probability = min(finding.probability, 0.9999)  # never as sure as what is counted
    return Said(finding.stage, words, probability, remedy(finding.kind, hints), parameters)


def remedy(kind: type[Defect], hints: Sequence[str]) -> str:
    """Say what undoes a defect.

    Parameters
    ----------
    kind
        The defect.
    hints
        Defects that the model takes as a hint.
    """
    if kind.remedy:
        return kind.remedy
    if kind.name in hints:
        return f"restore takes it away (--defect {kind.name})"
    return "the model does not know it, restore leaves it; train on ten such images"


def counted(planes: Sequence[Plane]) -> list[Said]:
    """Say what saving has done to the numbers: black that is cut off, few grey levels.

    Parameters
    ----------
    planes
        (Y, X), finite, in any units.
    """
    said = []
    few = [levels for plane in planes if (levels := grey_levels(plane)) < _FEW]
    if len(few) > len(planes) / 2:
        words = f"few grey levels: about {np.median(few):.0f}, photon counts or few bits"
        undo = "restore writes float32, so that rounding loses no more"
        said.append(Said("grey levels", words, _FOUND_BY_FORM, undo, {}))
        return said  # of few photons, most count none
    black = float(np.mean([cut_off(np.asarray(plane), "lowest") for plane in planes]))
    if black:
        words = f"black cut off: {100 * black:.2g} % of the pixels have the lowest value"
        undo = "nothing brings back what lay below; save without setting the black level"
        said.append(Said("black", words, _FOUND_BY_FORM, undo, {}))
    return said


def grey_levels(plane: Plane) -> int:
    """Count the grey values between the 1st and the 99.8th percentile, of a quarter million pixels.

    Examples
    --------
    >>> grey_levels(np.arange(4096).reshape(64, 64) % 10)
    10
    """
    step = max(1, int(np.sqrt(plane.size / 2**18)))
    values = np.asarray(plane[::step, ::step], np.float64)
    low, high = np.percentile(values, (1, 99.8))
    return int(np.unique(values[(values >= low) & (values <= high)]).size)


def with_intervals(finding: Finding, rng: np.random.Generator) -> str:
    """Say a finding with the interval of each number behind it.

    Many draws of the defect are described; where the words are the same, their numbers tell how
    certain each is, also those that follow from several parameters.

    Parameters
    ----------
    finding
        A stage that is there.
    rng
        Source of the draws.

    Returns
    -------
    str
        Such as ``photon noise: about 14 (10 to 19) photons at the brightest``.
    """
    text = finding.describe()
    words = _NUMBER.sub("#", text)
    draws = [finding.draw(rng).describe() for _ in range(_DRAWS)]
    alike = [_numbers(drawn) for drawn in draws if _NUMBER.sub("#", drawn) == words]
    if len(alike) < _ALIKE * _DRAWS or not alike[0]:
        return text
    low, high = np.quantile(np.array(alike), [(1 - _SHARE) / 2, (1 + _SHARE) / 2], axis=0)
    ends = zip(_NUMBER.finditer(text), low, high, strict=True)
    parts, last, before = [], 0, ""
    for number, least, most in ends:
        interval = f"{number[0]} ({_short(least)} to {_short(most)})"
        certain = _short(least) == _short(most) or interval == before
        parts += [text[last : number.start()], number[0] if certain else interval]
        last, before = number.end(), interval
    return "".join(parts) + text[last:]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)]


def _short(value: float) -> str:
    """Write a number with two digits that count."""
    return f"{float(f'{value:.2g}'):g}"


def _plain(value: float) -> float:
    return float(f"{value:.4g}")


def _percent(finding: Finding) -> str:
    return f"{100 * finding.probability:.0f} %"


def _doubt(inferred: dict[str, Finding], clean: Sequence[NDArray[np.generic]]) -> tuple[str, ...]:
    """Say what cannot be told apart without clean images."""
    blurred = [f for f in inferred.values() if f.kind.place in (Place.OPTICS, Place.SAMPLING)]
    if len(clean) or not blurred:
        return ()
    return (
        "a smooth specimen looks blurred; --clean FOLDER, of like images, tells the two apart.",
    )

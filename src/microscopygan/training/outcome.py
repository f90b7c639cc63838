"""What an adaptation came to: what is kept, what it was compared with, in figures and in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..settings import Settings
from .gate import LOSS, Validated, gain_over, kept_row
from .real_images import Comparison, as_json, may_keep, read_comparisons
from .split import Split
from .validation import read_validations


def outcome(folder: Path, split: Split, settings: Settings) -> dict[str, Any]:
    """Return what validation said of an adaptation, for ``run.json``; gains are in dB.

    Noisy images rank the states, but are too noisy themselves for a gain to mean anything.

    Parameters
    ----------
    folder
        Of the restorer's training.
    split, settings
        Of the run.

    Returns
    -------
    dict
        ``kept_after_steps``, 0 for the network that ships; ``judged_on``, in words, by defect;
        ``not_learned``, the defects that were left to the network that ships; ``said``, lines for
        the user; where there are gains to tell, ``kept_gain_db`` and ``generalist_gain_db`` over
        the input, and ``over_generalist_db``, of the best adapted network (mean, low, high);
        ``real_images``, by defect, see `real_images`.
    """
    rows, real = read_validations(folder), read_comparisons(folder)
    judged = validation_kinds(split, rows[0] if rows else None)
    about: dict[str, Any] = {"kept_after_steps": 0, "judged_on": judged}
    about["not_learned"] = [name for name in split.defects if name not in judged]
    kept = kept_row(rows, settings.adaptation.tolerance) if rows else None
    if kept is not None and may_keep(real):
        about["kept_after_steps"] = kept.step
    best = _best(rows, settings)
    if split.clean and kept is not None:
        shown = kept if about["kept_after_steps"] else rows[0]
        about["generalist_gain_db"] = round(rows[0].mean, 2)
        about["kept_gain_db"] = round(shown.mean, 2)
    if split.clean and best is not None:
        over = gain_over(best, rows[0])._asdict()
        about["over_generalist_db"] = {name: round(value, 2) for name, value in over.items()}
        about["worse_for"] = [
            name
            for name, gains in rows[0].gains.items()
            if (best.gains[name] - gains).mean() < -LOSS
        ]
    about["real_images"] = as_json(real)
    about["said"] = [_verdict(about), *_real(real), *_rest(about, split)]
    return about


def _best(rows: list[Validated], settings: Settings) -> Validated | None:
    """Return the adapted network that is kept or, where none is, the best; None without any."""
    if len(rows) < 2:
        return None
    kept = kept_row(rows, settings.adaptation.tolerance)
    return kept if kept.step else max(rows[1:], key=lambda row: row.mean)


def validation_kinds(split: Split, row: Validated | None) -> dict[str, str]:
    """Say on what an adaptation is validated, for each defect that is: how many images of which.

    Parameters
    ----------
    split
        Of the run.
    row
        A validation; None where there was none.
    """
    return {
        name: _kind(split, name, len(gains)) for name, gains in (row.gains if row else {}).items()
    }


def _kind(split: Split, name: str, count: int) -> str:
    pairs = len({pair.image for pair in split.validation_pairs[name]})
    if pairs:
        more = f" and {_count(count - pairs, 'synthetic image')}" if count > pairs else ""
        return _count(pairs, "held-back pair") + more
    if not split.clean:
        if len(split.validation_planes[name]) == 1:
            return f"{_count(count, 'field')} of one noisy image"
        return _count(count, "noisy image")
    if split.validation_planes[name]:
        return f"synthetic images of {_count(count, 'held-back clean image')}"
    if any(split.pairs.values()):
        return f"synthetic images of {_count(count, 'clean image')} of training pairs"
    return f"synthetic images of {_count(count, 'simulated specimen')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _verdict(about: Mapping[str, Any]) -> str:
    """Say what is kept, by how much, and on what."""
    judged, over = listed(about["judged_on"]), about.get("over_generalist_db")
    beside = "{mean:+.2f} dB ({low:.2f} to {high:.2f})".format(**over) if over else ""
    if about["kept_after_steps"] and not over:
        return f"Kept: the adapted network, better than the one that ships on {judged}."
    if about["kept_after_steps"]:
        gain = f"{about['kept_gain_db']:+.2f} dB over the input"
        both = f"{beside} over the network that ships and {gain}"
        return f"Kept: the adapted network, {both}, on {judged}."
    line = "Kept: the network that ships"
    if not judged:
        return f"{line}: nothing could say whether an adapted one is better."
    if not over:
        return f"{line}; no adapted one was surely better on {judged}."
    line += f", {about['generalist_gain_db']:+.2f} dB over the input"
    return f"{line}. The best adapted one was {beside} beside it on {judged}: {_why(about)}."


def _why(about: Mapping[str, Any]) -> str:
    over = about["over_generalist_db"]
    if over["mean"] <= 0:
        return "no better"
    if over["low"] <= 0:
        return "that may be chance; more pairs would tell"
    if about["worse_for"]:
        return f"but worse for {', '.join(about['worse_for'])}"
    return "but it did not stand the test on your defective images"


def _real(real: Mapping[str, Comparison]) -> list[str]:
    return [f"{name}: {one.describe()}" for name, one in real.items()]


def listed(kinds: Mapping[str, str]) -> str:
    """Join words by defect, the defects of equal words together; one defect goes unnamed.

    Examples
    --------
    >>> listed({"noise": "2 pairs", "axial": "2 pairs", "haze": "3 pairs"})
    '2 pairs (noise, axial), 3 pairs (haze)'
    """
    if not kinds:
        return ""
    if len(set(kinds.values())) == 1:
        each = " of each defect" if len(kinds) > 1 else ""
        return next(iter(kinds.values())) + each
    names: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        names.setdefault(kind, []).append(name)
    return ", ".join(f"{kind} ({', '.join(some)})" for kind, some in names.items())


def _rest(about: Mapping[str, Any], split: Split) -> list[str]:
    lines = []
    if not split.clean:
        lines.append("No clean image was given: the noise was learned from itself.")
    for name, meaning in split.meaning.items():
        if meaning != name:
            stages = " and ".join(meaning.split("+"))
            lines.append(f"{name}: physics of {stages}, which its images show, made its pairs.")
    for name in about["not_learned"]:
        lines.append(
            f"{name}: not learned, and restored as by the network that ships. Neither physics, by "
            "its name or by a diagnosis, nor CIN-GAN makes images that look like yours: add "
            f"pairs/{name}/input/ and pairs/{name}/target/, ten pairs are enough."
        )
    return lines

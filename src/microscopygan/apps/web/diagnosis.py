"""What is wrong with an image of the page, for its list and as a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..extras import need
from .images import PageImage

if TYPE_CHECKING:
    from ...diagnosis.words import ImageDiagnosis
    from ...restoration.model import Restorer


def diagnose_image(image: PageImage, restorer: Restorer, report: Path) -> ImageDiagnosis:
    """Find out what is wrong with an image, and write the report about it.

    Parameters
    ----------
    image
        Its axes are known.
    restorer
        The model that is to restore it.
    report
        HTML file to make; one that is there is replaced.

    Raises
    ------
    ModuleNotFoundError
        What a diagnosis needs is not installed.
    ValueError, OSError
        An image that cannot be read or diagnosed.
    """
    need("evaluate", "a diagnosis")
    from ...evaluate.report.diagnosis_page import write_diagnosis
    from ...restoration.diagnosed import diagnose

    found = diagnose(replace(image.open(), source=image.name), model=restorer)
    write_diagnosis([found], report, overwrite=True)
    return found


def described(found: ImageDiagnosis, told: Callable[[str], str]) -> dict[str, Any]:
    """Return a diagnosis as the page shows it.

    Parameters
    ----------
    found
        Of one image.
    told
        Puts a line into the words of the page.

    Returns
    -------
    dict
        ``channels``, each with its name, its findings (``words``, ``sure``, ``remedy``) and its
        notes; ``hints``, what the model can be told of all of them.
    """
    channels = [
        {
            "channel": one.channel,
            "findings": [
                {"words": said.words, "sure": said.sure, "remedy": told(said.remedy)}
                for said in one.said
            ],
            "notes": [told(note) for note in one.notes],
        }
        for one in found.channels
    ]
    hints = dict.fromkeys(hint for one in found.channels for hint in one.hints)
    return {"channels": channels, "hints": list(hints)}

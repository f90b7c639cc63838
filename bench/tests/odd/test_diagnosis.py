"""The look at what a diagnosis says: every family with like, unlike and no clean images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from microscopygan_bench.odd import diagnosis


def diagnose(defective: Sequence[np.ndarray], clean: Sequence[np.ndarray] = ()) -> SimpleNamespace:
    """Say stripes where clean images are given, else hum."""
    stage = "stripes" if clean else "hum"
    finding, other = (
        SimpleNamespace(stage=name, probability=p, describe=lambda: f"{len(defective)} of")
        for name, p in ((stage, 0.9), ("hum" if clean else "stripes", 0.25))
    )
    return SimpleNamespace(present=(finding,), findings=(finding, other))


def test_every_kind_of_clean_images_is_tried(data: Path) -> None:
    printed = list(diagnosis.lines(data, ["rows", "hum"], diagnose))
    assert printed[0] == "rows: stripes"
    assert [line.split()[0] for line in printed[1:4]] == ["like", "unlike", "none"]
    assert printed[1].startswith("    like   90% 10 of  (")
    assert printed[3].startswith("    none   90% 10 of; missed: stripes 25%  (")
    totals = [line.split() for line in printed[-3:]]
    assert totals == [["like", *"111"], ["unlike", *"111"], ["none", *"111"]]


def test_without_a_diagnosis_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "microscopygan.diagnosis", ModuleType("diagnosis"))
    with pytest.raises(ValueError, match=r"^expected microscopygan\.diagnosis\.diagnose, got "):
        diagnosis.load()

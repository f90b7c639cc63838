"""What is wrong with images, and what the model at hand makes of it."""

from pathlib import Path

import numpy as np
import pytest

import microscopygan
from microscopygan.defects import all_defects
from microscopygan.diagnosis import Diagnosis, Finding
from microscopygan.image.formats import Image, read, write
from microscopygan.restoration import diagnosed
from microscopygan.restoration.api import load, restore, restore_file
from microscopygan.restoration.diagnosed import MOST, conclude, diagnose, hints_of, spread
from microscopygan.restoration.model import Restorer


@pytest.fixture
def noisy() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.poisson(20 + 60 * rng.random((96, 96)) ** 4).astype(np.uint16)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch):
    """Let the encoder find defects; gives the planes that it was shown."""
    shown: list[np.ndarray] = []

    def let(*names: str) -> list[np.ndarray]:
        findings = tuple(Finding(name, 0.9 if name in names else 0.1, {}) for name in all_defects())

        def read(planes, clean=(), *, seed=0) -> Diagnosis:
            shown.extend(planes)
            return Diagnosis(tuple(sorted(findings, key=lambda f: -f.probability)), len(planes))

        monkeypatch.setattr(diagnosed, "diagnose_planes", read)
        return shown

    return let


def test_the_encoder_that_ships_reads_images_of_any_kind(noisy, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", Image(np.stack([noisy, noisy]), "CYX"))
    result = microscopygan.diagnose([path, noisy], clean=noisy[:64, :64])
    assert result.images == ("a.ome.tif", "image")
    first, second = result.channels
    assert (len(first.planes), len(second.planes)) == (2, 1)
    assert len(first.diagnosis.findings) == len(second.diagnosis.findings) > 10
    again = microscopygan.diagnose([path, noisy], clean=noisy[:64, :64])
    assert str(again) == str(result)


def test_one_image_or_a_list(noisy) -> None:
    assert str(diagnose(noisy)) == str(diagnose([noisy]))
    assert diagnose(Image(noisy, "YX")).images == ("image",)


def test_of_many_images_some_are_looked_at_all_over() -> None:
    assert spread(range(3)) == [0, 1, 2]
    assert spread([]) == []
    chosen = spread(range(100 * MOST))
    assert len(chosen) == MOST
    assert set(np.diff(chosen)) == {100}


def test_nothing_to_diagnose_is_one_line() -> None:
    with pytest.raises(ValueError, match="expected images to diagnose, got none"):
        conclude([])


def test_hints_are_those_of_the_models_card(model: Path) -> None:
    assert set(hints_of("generalist")) >= {"noise", "axial", "lowres"}
    assert hints_of(model) == ()
    assert hints_of(load("generalist", threads=1)) == hints_of("generalist")


def test_what_is_found_becomes_the_hint(told, noisy, tmp_path: Path) -> None:
    """The pixels are those of the same hint given by name; the file says how it came about."""
    shown = told("noise", "bleaching")
    source = write(tmp_path / "in.tif", Image(noisy, "YX"))
    auto = restore_file(source, tmp_path / "auto.tif", defect="auto")
    named = restore_file(source, tmp_path / "named.tif", defect="noise")
    assert np.array_equal(shown[0], noisy)
    a, b = read(auto.path), read(named.path)
    assert np.array_equal(a.array, b.array)
    assert auto.notes[0].startswith("Found and told to the network: noise (90 %).")
    assert "not known to the model: bleaching (90 %)" in auto.notes[0]
    about = a.provenance["restoration"]
    assert about["model"]["hint"] == ["noise"]
    assert about["found"]["defects"]["bleaching"] == 0.9
    assert "defects" not in b.provenance["restoration"]["found"]
    assert np.array_equal(restore(noisy, defect="auto"), a.array)


def test_each_image_of_an_open_model_is_looked_at(told, noisy) -> None:
    restorer = load("generalist", threads=1, defect="auto")
    assert restorer.finds_hint
    told("noise")
    with_noise = restore(Image(noisy, "YX"), model=restorer)
    told()
    with_none = restore(Image(noisy, "YX"), model=restorer)
    assert "told to the network: noise" in with_noise.notes[0]
    assert "told to the network: nothing" in with_none.notes[0]
    assert np.array_equal(with_none.array, restore(noisy))
    assert restorer.hint == ()


def test_only_channels_that_are_restored_are_looked_at(told, noisy) -> None:
    shown = told("noise")
    restore(np.stack([noisy, noisy.T]), axes="CYX", channels=[1], defect="auto")
    assert len(shown) == 1
    assert np.array_equal(shown[0], noisy.T)


def test_auto_stays_auto_in_other_processes() -> None:
    restorer = load("generalist", threads=1, defect="auto")
    kind, arguments = restorer.__reduce__()
    assert kind is Restorer
    assert Restorer(*arguments).finds_hint
    assert Restorer(*arguments).with_hint("noise").defect == ("noise",)


def test_auto_is_refused_where_it_cannot_be(noisy, model: Path) -> None:
    da = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match="of which nothing is computed yet"):
        restore(da.from_array(noisy), defect="auto")
    with pytest.raises(ValueError, match="takes no hints"):
        restore(noisy, model=model, defect="auto")
    with pytest.raises(ValueError, match=r"expected some of .*noise"):
        load("generalist", defect=("auto", "noise"))


def test_what_the_model_cannot_bring_back_is_told(noisy, tmp_path: Path) -> None:
    cut = np.minimum(noisy, 70)
    share = np.mean(cut == 70)
    source = write(tmp_path / "in.tif", Image(cut, "YX"))
    done = restore_file(source, tmp_path / "out.tif")
    assert any(line.startswith(f"{100 * share:.2g} % of the pixels") for line in done.notes)
    found = read(done.path).provenance["restoration"]["found"]
    assert found["part at the highest value"] == pytest.approx(share, abs=1e-5)
    whole = restore_file(
        write(tmp_path / "whole.tif", Image(noisy, "YX")), tmp_path / "whole_out.tif"
    )
    assert not any("highest grey value" in line for line in whole.notes)

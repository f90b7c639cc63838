import csv
import math

import numpy as np
import pytest
import tifffile

from microscopygan.evaluate.folders import evaluate_folders, left_out, summarise, write_csv
from microscopygan.evaluate.metrics import score


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("restored", "target"):
        (tmp_path / name).mkdir()
    for i in range(3):
        target = rng.random((32, 40)).astype(np.float32)
        noisy = target + rng.normal(0, 0.1, target.shape).astype(np.float32)
        tifffile.imwrite(tmp_path / "target" / f"cell.{i}.tif", target)
        tifffile.imwrite(tmp_path / "restored" / f"cell.{i}.tif", noisy)
    return tmp_path / "restored", tmp_path / "target"


def test_rows_hold_the_scores_of_the_matched_files(folders):
    rows = evaluate_folders(*folders)
    assert [row["image"] for row in rows] == ["cell.0", "cell.1", "cell.2"]
    restored, target = (tifffile.imread(folder / "cell.1.tif") for folder in folders)
    for name, value in score(target, restored).items():
        assert rows[1][name] == pytest.approx(value)


def test_images_of_one_folder_alone_are_named(folders):
    restored, target = folders
    assert left_out(restored, target) == []
    (target / "cell.0.tif").rename(target / "truth.tif")
    assert left_out(restored, target) == ["cell.0", "truth"]
    assert left_out(restored / "cell.0.tif", target / "truth.tif") == []


def test_a_file_is_compared_with_its_namesake_in_a_folder(folders):
    restored, target = folders
    rows = evaluate_folders(restored / "cell.1.tif", target)
    assert rows == evaluate_folders(*folders)[1:2]
    assert left_out(restored / "cell.1.tif", target) == []


def test_two_files_need_no_common_name(folders):
    restored, target = folders
    (target / "cell.0.tif").rename(target / "truth.tif")
    rows = evaluate_folders(restored / "cell.0.tif", target / "truth.tif", data_range=4.0)
    reference = score(
        tifffile.imread(target / "truth.tif"), tifffile.imread(restored / "cell.0.tif"), 4.0
    )
    assert rows[0]["psnr"] == pytest.approx(reference["psnr"])


def test_summary_is_mean_and_sample_deviation(folders):
    rows = evaluate_folders(*folders)
    values = [row["psnr"] for row in rows]
    assert summarise(rows)["psnr"].mean == pytest.approx(np.mean(values))
    assert summarise(rows)["psnr"].sd == pytest.approx(np.std(values, ddof=1))
    assert math.isnan(summarise(rows[:1])["psnr"].sd)


def test_csv_comes_back_and_is_not_overwritten(folders, tmp_path):
    rows = evaluate_folders(*folders)
    path = write_csv(rows, tmp_path / "new" / "scores.csv")
    with path.open(encoding="utf-8", newline="") as file:
        back = list(csv.DictReader(file))
    assert [float(row["psnr"]) for row in back] == [row["psnr"] for row in rows]
    with pytest.raises(FileExistsError, match=r"scores\.csv exists"):
        write_csv(rows, path)
    write_csv(rows[:1], path, overwrite=True)
    assert len(path.read_text().splitlines()) == 2
    assert [p.name for p in path.parent.iterdir()] == ["scores.csv"]


def test_faults_are_told_in_one_line(folders, tmp_path):
    restored, target = folders
    with pytest.raises(FileNotFoundError, match="nowhere"):
        evaluate_folders(tmp_path / "nowhere", target)
    tifffile.imwrite(restored / "cell.1.tif", np.zeros((8, 8), np.float32))
    with pytest.raises(ValueError, match="one shape"):
        evaluate_folders(restored, target)
    for path in target.iterdir():
        path.rename(path.with_name("other" + path.name))
    with pytest.raises(ValueError, match="no common name"):
        evaluate_folders(restored, target)
    with pytest.raises(ValueError, match="at least one row"):
        write_csv([], tmp_path / "x.csv")

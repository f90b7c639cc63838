"""The rows of the models that ship say what is in their files."""

from pathlib import Path

import pytest

from microscopygan.restoration.model import Restorer
from microscopygan.restoration.models import MODELS

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", MODELS)
def test_a_row_says_what_is_in_the_file(name: str) -> None:
    row = MODELS[name]
    restorer = Restorer(name)
    assert restorer.path == row.path
    assert restorer.card.name == name
    assert row.parameters == restorer.card.parameters
    assert (REPOSITORY / row.page).is_file()


def test_names_are_no_file_names() -> None:
    assert all(Path(name).suffix == "" and Path(name).name == name for name in MODELS)
    with pytest.raises(FileNotFoundError, match=r"expected a file or one of generalist"):
        Restorer("no such")

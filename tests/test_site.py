"""The site that `make docs` builds: every page and public name is in it, all else is out."""

import inspect
import re
import sys
from pathlib import Path

import pytest

import microscopygan

DOCS = Path(__file__).resolve().parents[1] / "docs"
sys.path.insert(0, str(DOCS / "extensions"))

from offline import loaded_from_elsewhere  # noqa: E402


def listed_below(page: Path) -> list[Path]:
    """Return the pages that the tables of contents of a page name."""
    pages = []
    for table in re.findall(r"^```{toctree}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
        for line in table.splitlines():
            if line and not line.startswith(":"):
                name = re.sub(r"^.*<(.+)>$", r"\1", line)
                pages += sorted(page.parent.glob(f"{name}.md")) or [page.parent / name]
    return pages


def test_every_page_is_in_the_table_of_contents() -> None:
    reached, ahead = set(), [DOCS / "index.md"]
    while ahead:
        page = ahead.pop()
        assert page.is_file(), page
        assert page not in reached, f"{page} is listed twice"
        reached.add(page)
        ahead += listed_below(page)
    assert reached == set(DOCS.rglob("*.md"))


def test_the_cells_of_the_tutorials_are_python() -> None:
    """Their names and results are tried by `make docs`, which runs them."""
    for page in (DOCS / "tutorials").glob("*.md"):
        cells = re.findall(r"^```{code-cell}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
        assert cells or page.name == "index.md"
        compile("".join(cells), page.name, "exec")


def test_every_public_name_is_on_a_page() -> None:
    shown: list[str] = []
    for page in (DOCS / "api").glob("*.md"):
        module = ""
        directive = r"^\.\. (currentmodule|auto\w+):: ([\w.]+)$"
        for kind, name in re.findall(directive, page.read_text("utf-8"), re.MULTILINE):
            if kind == "currentmodule":
                module = name
            else:
                shown.append(name if "." in name else f"{module}.{name}")
    public = {f"microscopygan.{name}" for name in microscopygan.__all__} - {
        "microscopygan.__version__"
    }
    assert public <= set(shown)
    assert len(shown) == len(set(shown))


def test_no_default_names_a_place_on_this_machine() -> None:
    here = str(Path(microscopygan.__file__).parent)
    functions = [getattr(microscopygan, n) for n in microscopygan.__all__ if n[0].islower()]
    for function in functions:
        for parameter in inspect.signature(function).parameters.values():
            assert here not in str(parameter.default), (function, parameter)


@pytest.mark.parametrize(
    "text",
    [
        '<script async src="https://a.org/b.js"></script>',
        "<img alt='x' src='http://a.org/b.png'>",
        '<link rel="stylesheet" href="//a.org/b.css"/>',
        "body { background: url(https://a.org/b.png) }",
        "@import 'https://a.org/b.css';",
    ],
)
def test_what_is_loaded_from_elsewhere_is_seen(text: str) -> None:
    assert len(loaded_from_elsewhere(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        '<a href="https://a.org">a link</a>',
        '<script src="_static/b.js"></script>',
        '<link rel="canonical" href="https://a.org/b.html"/>',
        "<code>https://a.org</code>",
    ],
)
def test_what_is_not_loaded_is_left(text: str) -> None:
    assert loaded_from_elsewhere(text) == []

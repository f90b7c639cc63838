"""What README and docs/ show runs: every block, and every option and link in the text exists.

A block that cannot run here says why in a comment above it, ``<!-- not run: REASON -->``; its
syntax, options and names are checked all the same. The blocks of a page run in order, in one folder
that holds what they name (`work`).
"""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import pytest
import typer

from microscopygan.apps import cli
from microscopygan.apps.restore_options import RestoreOptions
from microscopygan.defects import all_defects
from microscopygan.image.formats import Image, read, write
from microscopygan.settings import make_settings

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "microscopygan"
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
PAGES += sorted((REPOSITORY / "examples").rglob("*.md"))
COMMANDS = typer.main.get_command(cli.app)
LONG = {"train", "demo", "synthesize"}  # parsed only: they take minutes, or need a training


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    why_not: str | None

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the sh, python and toml blocks of a page."""
    pattern = r"(?:<!-- (?:not run: )?([^>]+?) -->\n)?^```(sh|python|toml)\n(.*?)^```$"
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: found.start(2)].count("\n") + 1, found[2], found[3], found[1])
        for found in re.finditer(pattern, text, re.MULTILINE | re.DOTALL)
    ]


ALL = [block for page in PAGES for block in blocks(page)]
SHOWN = [block for block in ALL if not block.why_not]


def lines(text: str) -> list[list[str]]:
    """Split shell commands into words; comments go, lines that end in a backslash go on."""
    whole = re.split(r"\n|&&", text.replace("\\\n", " "))
    return [words for line in whole if (words := shlex.split(line, comments=True))]


def parse(words: list[str]) -> str:
    """Parse the words after ``microscopygan``; return the command's name."""
    context = COMMANDS.make_context("microscopygan", list(words))
    name, command, rest = COMMANDS.resolve_command(
        context, [*context._protected_args, *context.args]
    )
    command.make_context(name, rest, parent=context)
    return name


def check_other(words: list[str]) -> None:
    """Check the names in a line that starts no command of ours: extras, targets, modules, files."""
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    if words[:2] == ["pip", "install"]:
        for word in words:
            assert set(re.findall(r"\[(\w+)\]", word)) <= extras.keys(), word
    elif words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
    elif words[0] == "microscopygan-bench":
        module = REPOSITORY / "bench" / "src" / "microscopygan_bench" / words[1].replace("-", "_")
        assert module.is_dir() or module.with_suffix(".py").exists(), words[1]
    elif words[0] == "python":
        assert (REPOSITORY / words[1]).exists(), words[1]


def check_settings(block: Block) -> None:
    """Check a file of settings: of a training, or of restoring where the comment above says so."""
    content = tomllib.loads(block.text)
    if block.why_not == "options of restore":
        RestoreOptions(**content)
    else:
        make_settings().changed(content)


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.name)
def test_every_block_is_valid(block: Block) -> None:
    if block.language == "python":
        compile(block.text, block.name, "exec")
        return
    if block.language == "toml":
        check_settings(block)
        return
    shell = ["bash", "-n", "-c", block.text]
    assert subprocess.run(shell, capture_output=True, check=False).returncode == 0
    for words in lines(block.text):
        if words[0] == "microscopygan":
            parse(words[1:])
        else:
            assert block.why_not, f"{block.name}: {words[0]} needs a comment why it is not run"
            check_other(words)


@pytest.fixture
def work(
    tmp_path: Path, dataset: Path, coarse_physics: None, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with all that the pages name, small: images, stacks, a dataset, a run."""
    clean = read(PACKAGE / "samples" / "clean" / "dsb2018_095.tif").array[:80, :96]
    stack = np.stack([np.roll(clean, 3 * k, axis=1) for k in range(6)])
    voxel = {"Z": 0.4, "Y": 0.1, "X": 0.1}
    dataset.rename(tmp_path / "my_dataset")
    write(tmp_path / "my_image.tif", Image(clean, "YX", {"Y": 0.1, "X": 0.1}))
    write(tmp_path / "stack.ome.tif", Image(stack, "ZYX", voxel))
    write(tmp_path / "big.ome.zarr", Image(stack, "ZYX", voxel))
    for folder in ("images", "restored", "targets"):
        for name in ("a.tif", "b.tif"):
            (tmp_path / folder).mkdir(exist_ok=True)
            write(tmp_path / folder / name, Image(clean, "YX", {}))
    run = tmp_path / "my_run"
    run.mkdir()
    (run / "settings.json").write_text("{}")
    (tmp_path / "options.toml").write_text('defect = "noise"\n')
    shutil.copy(PACKAGE / "weights" / "generalist.onnx", run / "restorer.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", sorted({b.page for b in SHOWN}), ids=lambda page: str(page.relative_to(REPOSITORY))
)
def test_the_blocks_of_a_page_run(page: Path, work: Path, run_command) -> None:
    """Slow (1 to 20 s a page): commands and Python blocks restore images, and learn from some."""
    shown = [block for block in SHOWN if block.page == page]
    for block in shown:
        if block.language == "sh":
            for words in lines(block.text):
                if parse(words[1:]) not in LONG:
                    code, _, error = run_command(*words[1:])
                    assert code == 0, f"{block.name}: {shlex.join(words)}: {error}"
    script = "\n".join(block.text for block in shown if block.language == "python")
    if script:
        (work / "page.py").write_text(script, encoding="utf-8")
        runpy.run_path(str(work / "page.py"))


def text_of(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def test_every_option_in_the_text_exists() -> None:
    known = {
        option
        for command in COMMANDS.commands.values()
        for parameter in command.params
        for option in [*parameter.opts, *parameter.secondary_opts]
    } | {option for parameter in COMMANDS.params for option in parameter.opts}
    known |= {"--help"}
    for path in [
        *(REPOSITORY / "bench" / "src").rglob("*.py"),
        *(REPOSITORY / "scripts").rglob("*.py"),
    ]:
        known |= set(re.findall(r'"(--[a-z][a-z-]*)"', path.read_text(encoding="utf-8")))
    others = {  # of other programs
        "cluster.md": {"--gres"},
        "comparison.md": {"--restore_type"},
        "2019.md": {"--cin_augment", "--alpha", "--cin_generator_path", "--images_limit"},
    }
    for page in PAGES:
        spans = " ".join(re.findall(r"`([^`\n]+)`", text_of(page)))
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", spans))
        assert named <= known | others.get(page.name, set()), page.name


def anchors(page: Path) -> set[str]:
    """Return the anchors that headings of a page get."""
    heads = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"https?://", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_names_of_defects_say_what_they_are() -> None:
    text = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
    table = text[text.index("<!-- defects -->") : text.index("<!-- /defects -->")]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE)
    assert len(rows) > 10
    for name, words in rows:
        assert all_defects()[name].__doc__.splitlines()[0] == f"{words}."


def test_contributing_names_existing_paths() -> None:
    spans = re.findall(r"`([^`\n]+)`", text_of(REPOSITORY / "CONTRIBUTING.md"))
    paths = {span for span in spans if re.fullmatch(r"[\w.-]+/[\w./-]*", span)}
    paths = {path for path in paths if "NAME" not in path}
    assert len(paths) > 40
    assert not [p for p in paths if not ((REPOSITORY / p).exists() or (PACKAGE / p).exists())]


def run_script(name: str, output: Path) -> None:
    script = [sys.executable, str(REPOSITORY / "scripts" / name), "-o", str(output)]
    subprocess.run(script, check=True, capture_output=True)


def look_alike(shown: Path, made: Path) -> None:
    """Letters, and the last bit of a grey value, differ a little between libraries."""
    ours, theirs = (np.asarray(PIL.Image.open(path), float) for path in (shown, made))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).mean() < 2  # of 255


@pytest.mark.slow
def test_the_picture_is_what_its_script_makes(tmp_path: Path) -> None:
    """Slow (about 5 s): three images restored in a process of its own."""
    shown = REPOSITORY / "docs" / "images" / "before_after.png"
    run_script("readme_picture.py", tmp_path / "made.png")
    look_alike(shown, tmp_path / "made.png")
    assert shown.stat().st_size < 400_000


@pytest.mark.slow
def test_the_gallery_is_what_its_script_makes(tmp_path: Path) -> None:
    """Slow (about 5 s): eight images restored in a process of its own."""
    docs = REPOSITORY / "docs"
    run_script("gallery_pictures.py", tmp_path)
    assert (tmp_path / "gallery.md").read_text("utf-8") == (docs / "gallery.md").read_text("utf-8")
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
    assert made == sorted(p.relative_to(docs) for p in (docs / "images/gallery").glob("*.png"))
    for path in made:
        look_alike(docs / path, tmp_path / path)


def test_the_first_page_shows_the_three_commands_first() -> None:
    first = blocks(REPOSITORY / "README.md")[0]
    assert [parse(words[1:]) for words in lines(first.text)] == ["restore", "train", "restore"]


def test_the_tests_that_a_page_names_exist() -> None:
    page = (REPOSITORY / "docs" / "files.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) > 50
    for file, name in named:
        assert f"def {name}(" in (REPOSITORY / file).read_text("utf-8"), (file, name)

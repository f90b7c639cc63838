"""The page on clusters: its code compiles, and the options it names exist."""

import re
from pathlib import Path

from typer.main import get_command

from microscopygan.apps.cli import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cluster.md"
DASK = {"--port", "--nworkers", "--nthreads", "--lifetime", "--lifetime-stagger", "--gres"}
BENCH = {"--size", "--folder", "--repeats", "--runs"}


def test_the_page_names_options_that_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(code, "cluster.md", "exec")
    restore = get_command(app).commands["restore"]  # type: ignore[attr-defined]
    options = {name for parameter in restore.params for name in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert {"--scheduler", "--memory", "--resume"} <= named
    assert named - DASK - BENCH <= options

"""Restore a sample with the lowest versions that pyproject.toml allows.

    python scripts/lowest_versions.py [EXTRA ...]

makes a virtual environment of this Python, installs MicroscopyGAN there with each direct dependency
of the base installation (and of the extras, such as evaluate) at its lower bound, restores a
shipped sample to each kind of file, and prints what was installed and how long it took.
Dependencies of dependencies are as new as they may be. Where a step fails, a lower bound does not
hold.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BINARIES = "Scripts" if os.name == "nt" else "bin"
OUTPUTS = ("restored.tif", "restored.ome.tif", "restored.ome.zarr", "restored.npy", "restored.png")


def lowest(extras: list[str]) -> list[str]:
    """Return the direct dependencies, each at its lower bound."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    listed = list(project["dependencies"])
    for extra in extras:
        listed += project["optional-dependencies"][extra]
    own = project["name"]
    return [line.replace(">=", "==") for line in listed if not line.startswith(own)]


def run(*words: object) -> str:
    """Run a command outside the repository; return what it wrote, end where it fails."""
    command = [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(command[0]).parent)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def install(folder: Path, pinned: list[str], extras: list[str]) -> Path:
    """Install the package and the pinned dependencies; return the folder of programs."""
    run(sys.executable, "-m", "venv", folder)
    programs = folder / BINARIES
    package = f"{REPOSITORY}[{','.join(extras)}]" if extras else str(REPOSITORY)
    run(
        programs / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--only-binary=:all:",
        package,
        *pinned,
    )
    return programs


def restore_sample(programs: Path, output: Path) -> None:
    """Restore a shipped sample to every kind of file."""
    where = "import microscopygan; print(microscopygan.__path__[0])"
    package = Path(run(programs / "python", "-W", "error", "-c", where).strip())
    sample = min((package / "samples").rglob("*.tif"))
    for name in OUTPUTS:
        run(programs / "microscopygan", "restore", sample, "-o", output / name, "--quiet")
    run(programs / "microscopygan", "restore", sample, "-o", output / "two.zarr", "--workers", 2)


def main() -> None:
    """Install, restore, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="such as evaluate")
    extras = parser.parse_args().extras
    pinned = lowest(extras)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        programs = install(Path(folder) / "venv", pinned, extras)
        installed = time.perf_counter()
        output = Path(folder) / "output"
        output.mkdir()
        restore_sample(programs, output)
        done = time.perf_counter()
        if "evaluate" in extras:
            run(programs / "microscopygan", "evaluate", output / OUTPUTS[0], output / OUTPUTS[1])
    print(f"Python {sys.version.split()[0]}: {' '.join(pinned)}")
    print(
        f"installed in {installed - start:.0f} s, restored to {len(OUTPUTS) + 1} files in ", end=""
    )
    print(f"{done - installed:.0f} s")


if __name__ == "__main__":
    main()

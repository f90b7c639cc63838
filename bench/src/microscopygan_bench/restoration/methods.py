"""The methods, as a plain table: what each is, where it takes part, how its process starts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microscopygan.settings import Settings, make_settings

OURS = "microscopygan_bench.restoration.run_method"  # a module of this program's own environment
PEERS = Path(__file__).parents[1] / "peers"
ALPHAS = (0.0, 0.3, 0.5, 0.7, 1.0)
ORACLE_TIMES = 10


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Attributes
    ----------
    title
        What the tables call it.
    group
        ``reference``, ``peers``, ``ours``, ``ablations`` or ``oracle``.
    options
        For its process, in ``job.json``.
    settings
        In which it can be trained.
    single
        One network for each task, each with the whole time; otherwise one for all tasks.
    only
        Tasks it restores, where not all.
    peer
        Virtual environment it runs in, as `restoration_speed` makes them; its script is
        ``peers/SCRIPT.py``.
    script
        See `peer`.
    trained
        Without training there are no draws.
    """

    title: str
    group: str
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: str = "AB"
    single: bool = False
    only: tuple[str, ...] = ()
    peer: str | None = None
    script: str | None = None
    trained: bool = True

    def tasks(self, there: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the tasks `there` that it restores."""
        return tuple(name for name in there if name in self.only or not self.only)

    def command(self, python: Path | None) -> list[str]:
        """Return the command that does a job, less the job's folder; `python` is the peer's."""
        if self.script is None:
            return [sys.executable, "-m", OURS]
        return [str(python or sys.executable), str(PEERS / f"{self.script}.py")]


def settings_of(options: Mapping[str, Any], setting: str, seed: int) -> Settings:
    """Return the settings of a training of ours: a preset, with what the options change.

    Without pairs all training pairs are synthetic. From scratch nothing is held back, as no choice
    is made on validation images.
    """
    preset, start = options.get("preset", "default"), options.get("start", "generalist")
    settings = make_settings(preset, start, seed=seed)
    changes = {"validation": 0.0} if settings.start == "scratch" else {}
    names = ("defects", "restorer", "alpha", "cin_gan")
    changes |= {name: options[name] for name in names if name in options}
    return settings.changed(changes | ({"alpha": 1.0} if setting == "B" else {}))


def _reference(title: str, kind: str, **more: Any) -> Method:
    return Method(title, "reference", {"kind": kind}, single=True, trained=False, **more)


def _baseline(title: str, name: str, where: str) -> Method:
    return Method(title, "peers", {"kind": "baseline", "module": name}, where, single=True)


def _ours(title: str, group: str = "ablations", where: str = "AB", **changes: Any) -> Method:
    return Method(title, group, {"kind": "ours", **changes}, where)


METHODS: dict[str, Method] = {
    "input": _reference("untouched input", "input"),
    "classical": _reference("classical", "classical"),
    "cubic": _reference("cubic interpolation", "cubic", only=("axial",)),
    "care": Method(
        "CARE (CSBDeep)", "peers", {}, "A", single=True, peer="care", script="train_care"
    ),
    "careamics": Method(
        "CARE (CAREamics)",
        "peers",
        {"algorithm": "care"},
        "A",
        single=True,
        peer="careamics",
        script="train_careamics",
    ),
    "n2v": Method(
        "Noise2Void (CAREamics)",
        "peers",
        {"algorithm": "n2v"},
        single=True,
        only=("noise",),
        peer="careamics",
        script="train_careamics",
    ),
    "pix2pix": _baseline("pix2pix", "pix2pix", "A"),
    "deblurgan": _baseline("DeblurGAN", "deblurgan", "A"),
    "cyclegan": _baseline("CycleGAN", "cyclegan", "AB"),
    "paper": _ours("MicroscopyGAN, paper", "ours", preset="paper"),
    "scratch": _ours("MicroscopyGAN from scratch", "ours", start="scratch"),
    "default": _ours("MicroscopyGAN", "ours"),
    "cin-gan": _ours("half of it by CIN-GAN on physics", cin_gan=0.5),
    "no-physics": _ours("CIN-GAN in place of physics", defects={"physics": False}),
    "content": _ours("with content loss", restorer={"content_weight": 0.3}),
    "adversarial": _ours("with adversarial loss", restorer={"adversarial_weight": 0.03}),
    **{
        f"alpha-{alpha:g}": _ours(
            "real pairs only (α = 0)" if alpha == 0 else f"α = {alpha:g}", where="A", alpha=alpha
        )
        for alpha in ALPHAS
        if alpha != make_settings().alpha
    },
    "oracle": _ours(
        "oracle: all pairs, ten times as long",
        "oracle",
        "A",
        restorer={"steps": ORACLE_TIMES * make_settings().restorer.steps},
    ),
}
GROUPS = tuple(dict.fromkeys(method.group for method in METHODS.values()))


def choose(names: str) -> list[str]:
    """Return the methods that a list of names and groups, with commas, stands for.

    Raises
    ------
    ValueError
        A name that is neither.

    Examples
    --------
    >>> choose("reference,default")
    ['input', 'classical', 'cubic', 'default']
    """
    selected: list[str] = []
    for name in names.split(","):
        meant = [key for key, method in METHODS.items() if name in (key, method.group)]
        if not meant:
            known = ", ".join((*GROUPS, *METHODS))
            raise ValueError(f"methods: expected some of {known}; got {name!r}")
        selected += meant
    return list(dict.fromkeys(selected))

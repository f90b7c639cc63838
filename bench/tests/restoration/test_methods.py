"""Methods: each can start, is chosen by name, and changes what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from microscopygan.settings import Settings
from microscopygan_bench.restoration import methods, protocol
from microscopygan_bench.restoration.methods import METHODS, PEERS


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_start(name: str) -> None:
    method = METHODS[name]
    started = method.command(Path("python"))
    assert started[0] == ("python" if method.peer else sys.executable)
    assert set(method.settings) <= set(protocol.SETTINGS)
    if method.peer:
        assert (PEERS / f"{method.peer}.txt").exists()
        assert Path(started[1]).exists()
    if method.options.get("kind") == "baseline":
        module = PEERS.parent / "baselines" / f"{method.options['module']}.py"
        assert module.exists()


def test_methods_are_chosen_by_name_and_group() -> None:
    assert methods.choose("oracle,input,reference") == ["oracle", "input", "classical", "cubic"]
    with pytest.raises(ValueError, match=r"^methods: expected some of .*; got 'dinner'$"):
        methods.choose("input,dinner")


def test_ablations_change_what_they_say() -> None:
    def chosen(name: str) -> Settings:
        return methods.settings_of(METHODS[name].options, "A", 0)

    default = chosen("default")
    assert chosen("content").restorer.content_weight > 0
    assert chosen("adversarial").restorer.adversarial_weight > 0
    assert not chosen("no-physics").defects.physics
    assert chosen("alpha-0").alpha == 0
    assert chosen("paper").preset == "paper"
    assert (default.cin_gan, chosen("cin-gan").cin_gan) == (0.0, 0.5)
    assert chosen("oracle").restorer.steps == 10 * default.restorer.steps
    assert (default.start, chosen("scratch").start) == ("generalist", "scratch")

"""Laws of the training loop: resume, kill, separate updates, several processes."""

import csv
import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from microscopygan.gan.cgan import CGan, match_coarse
from microscopygan.gan.checkpoints import read_tensors, write_tensors
from microscopygan.gan.cin_gan import CinGan
from microscopygan.settings import DefectSettings, Settings
from microscopygan.training.loop import Average, load_state, run_loop, save_state, set_rates


def batches(step: int, process: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([step, process])
    planes = rng.random((4, 3, 1, 32, 32), dtype=np.float32)
    names = ("clean", "simulated", "real", "input")
    defect = rng.integers(2, size=3)
    more = {"corrected": np.zeros(3, np.int64), "hint": np.zeros((3, 0), np.float32)}
    return {**dict(zip(names, planes, strict=True)), "target": planes[0], "defect": defect} | more


def stage(tiny: Settings, steps: int) -> DefectSettings:
    return tiny.defects.model_copy(update={"steps": steps})


def run(folder: Path, settings: DefectSettings, **more: object) -> dict[str, torch.Tensor]:
    gan = CinGan(settings, ("a", "b"), Accelerator(cpu=True), seed=3)
    generator = run_loop(
        gan, batches, folder, settings, seed=3, accelerator=gan.accelerator, quiet=True, **more
    )
    return generator.state_dict()


def test_a_resumed_run_ends_bit_equal(tmp_path: Path, tiny: Settings) -> None:
    settings = stage(tiny, 6)
    whole = run(tmp_path / "whole", settings)

    def stops(step: int, process: int) -> dict[str, np.ndarray]:
        if step == 5:
            raise KeyboardInterrupt
        return batches(step, process)

    gan = CinGan(settings, ("a", "b"), Accelerator(cpu=True), seed=3)
    with pytest.raises(KeyboardInterrupt):
        run_loop(
            gan, stops, tmp_path / "cut", settings, seed=3, accelerator=gan.accelerator, quiet=True
        )
    resumed = run(tmp_path / "cut", settings, resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    with (tmp_path / "cut" / "log.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [1, 2, 3, 4, 5, 6]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_loop import run, stage
import microscopygan.gan.checkpoints as files
from microscopygan.settings import Settings
settings = Settings.model_validate_json(Path({settings!r}).read_text())
saves = []
real = files.save_file
def save_file(tensors, path, about):
    saves.append(path)
    if len(saves) == 2:
        path.write_bytes(b"half a file")
        os.kill(os.getpid(), signal.SIGKILL)
    real(tensors, path, about)
files.save_file = save_file
run(Path({folder!r}), stage(settings, 6))
"""


@pytest.mark.slow
def test_kill_in_the_middle_of_saving_loses_one_interval(
    tmp_path: Path, tiny: Settings, python: str
) -> None:
    """Slow (about 10 s): an interpreter that loads torch for each try."""
    (tmp_path / "settings.json").write_text(tiny.model_dump_json())
    script = KILLED.format(
        tests=str(Path(__file__).parent),
        settings=str(tmp_path / "settings.json"),
        folder=str(tmp_path / "killed"),
    )
    done = subprocess.run([python, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    gan = CinGan(stage(tiny, 6), ("a", "b"), Accelerator(cpu=True), seed=3)
    average = Average(gan.networks["generator"], 0.9)
    assert load_state(tmp_path / "killed" / "state.safetensors", gan, average) == 2
    resumed = run(tmp_path / "killed", stage(tiny, 6), resume=True)
    whole = run(tmp_path / "whole", stage(tiny, 6))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def weights(network: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def same(network: torch.nn.Module, before: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))


def test_each_step_leaves_the_other_network_bit_equal(tiny: Settings) -> None:
    tiny = tiny.changed({"defects.adversarial_weight": 0.3})
    gan = CinGan(tiny.defects, ("a", "b"), Accelerator(cpu=True), seed=0)
    set_rates(gan, tiny.defects, 1)
    batch = {k: torch.from_numpy(v) for k, v in batches(0, 0).items()}
    generator, critic = gan.networks["generator"], gan.networks["critic"]
    rng = torch.Generator().manual_seed(0)
    before = weights(generator), weights(critic)
    gan._critic_step(batch, rng, 0)
    assert same(generator, before[0])
    assert not same(critic, before[1])
    before = weights(generator), weights(critic)
    gan._generator_step(batch, rng)
    assert same(critic, before[1])
    assert not same(generator, before[0])


def test_each_restorer_step_leaves_the_other_network_bit_equal(tiny: Settings) -> None:
    gan = CGan(tiny.restorer, Accelerator(cpu=True), seed=0)
    set_rates(gan, tiny.restorer, 1)
    batch = {k: torch.from_numpy(v) for k, v in batches(0, 0).items()}
    restorer, discriminator = gan.networks["restorer"], gan.networks["discriminator"]
    image, target = gan.pair(batch, torch.Generator())
    restored = restorer(image)
    before = weights(restorer), weights(discriminator)
    gan._discriminator_step(image, target, restored.detach())
    assert same(restorer, before[0])
    assert not same(discriminator, before[1])
    before = weights(restorer), weights(discriminator)
    gan._restorer_step(image, target, restored, True)
    assert same(discriminator, before[1])
    assert not same(restorer, before[0])


def test_terms_of_weight_zero_are_left_out(tiny: Settings) -> None:
    plain = {"adversarial_weight": 0.0, "content_weight": 0.0, "adversarial_start": 0.0}
    gan = CGan(tiny.restorer.model_copy(update=plain), Accelerator(cpu=True), seed=0)
    set_rates(gan, tiny.restorer, 1)
    batch = {k: torch.from_numpy(v) for k, v in batches(0, 0).items()}
    restorer, discriminator = gan.networks["restorer"], gan.networks["discriminator"]
    before = weights(restorer), weights(discriminator)
    losses = gan.step(batch, torch.Generator(), 3)
    assert losses["content"] == losses["adversarial"] == losses["discriminator"] == 0
    assert same(discriminator, before[1])
    assert not same(restorer, before[0])


def test_only_rows_of_a_new_defect_train(tiny: Settings) -> None:
    from microscopygan.gan.networks import build_generator, choose_rows, defect_rows, train_rows

    generator = build_generator(tiny.defects.architecture, 2)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    choose_rows(generator, [0, 1, None])
    train_rows(generator)
    gan = CinGan(tiny.defects, ("a", "b", "c"), Accelerator(cpu=True), 0, start=generator)
    before = {k: v.clone() for k, v in generator.state_dict().items()}
    rows = defect_rows(generator)
    for step in range(2):
        batch = {k: torch.from_numpy(v) for k, v in batches(step, 0).items()}
        batch["defect"] = torch.full((3,), 2)
        set_rates(gan, tiny.defects, step)
        gan.step(batch, torch.Generator().manual_seed(step), step)
    for name, value in generator.state_dict().items():
        kept = slice(0, 2) if name in rows else slice(None)
        assert torch.equal(value[kept], before[name][kept])
    moved = {n for n in rows if not torch.equal(generator.state_dict()[n][2], before[n][2])}
    assert moved == {"code", "rows"}


def test_another_architecture_is_refused(tmp_path: Path, tiny: Settings) -> None:
    run(tmp_path, stage(tiny, 2))
    wider = stage(tiny.changed({"defects.architecture.channels": 8}), 4)
    with pytest.raises(ValueError, match="another architecture"):
        run(tmp_path, wider, resume=True)


def test_a_damaged_state_is_refused(tmp_path: Path, tiny: Settings) -> None:
    run(tmp_path, stage(tiny, 2))
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        run(tmp_path, stage(tiny, 4), resume=True)


def test_another_format_version_is_refused(tmp_path: Path, tiny: Settings, monkeypatch) -> None:
    monkeypatch.setattr("microscopygan.gan.checkpoints.FORMAT_VERSION", 99)
    run(tmp_path, stage(tiny, 2))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="expected format 1"):
        run(tmp_path, stage(tiny, 4), resume=True)


def test_a_full_disk_leaves_the_last_state(tmp_path: Path, tiny: Settings, monkeypatch) -> None:
    from safetensors import SafetensorError

    gan = CinGan(stage(tiny, 2), ("a",), Accelerator(cpu=True), 0)
    average, state = Average(gan.networks["generator"], 0.9), tmp_path / "state.safetensors"
    save_state(state, gan, average, 1)
    before = state.read_bytes()

    def full(tensors: object, path: Path, about: object) -> None:
        path.write_bytes(b"part")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("microscopygan.gan.checkpoints.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_state(state, gan, average, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]
    assert state.read_bytes() == before


def test_average_of_a_constant_network_is_itself() -> None:
    network = torch.nn.Linear(2, 2)
    average = Average(network, 0.99)
    for step in range(3):
        average.update(network, step)
    assert torch.equal(average.network.weight, network.weight)


def test_match_coarse_undoes_a_change_of_gain_and_offset() -> None:
    plane = torch.rand(1, 1, 64, 64).cumsum(3) / 32
    torch.testing.assert_close(
        match_coarse(plane, 1.5 * plane + 0.2, 8), 1.5 * plane + 0.2, rtol=0, atol=0.02
    )


LAUNCHED = """
import json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_loop import run, stage
from microscopygan.training.loop import join_processes
from microscopygan.settings import Settings
accelerator = join_processes()
settings = Settings.model_validate_json(Path({settings!r}).read_text())
weights = run(Path({folder!r}), stage(settings, 3))
total = float(sum(v.double().sum() for v in weights.values()))
name = f"{{accelerator.process_index}}-of-{{accelerator.num_processes}}.json"
(Path({folder!r}) / name).write_text(json.dumps(total))
"""


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path, tiny: Settings, launch) -> None:
    """Slow (about 15 s): two interpreters start and load torch."""
    (tmp_path / "settings.json").write_text(tiny.model_dump_json())
    script = tmp_path / "script.py"
    script.write_text(
        LAUNCHED.format(
            tests=str(Path(__file__).parent),
            settings=str(tmp_path / "settings.json"),
            folder=str(tmp_path / "run"),
        )
    )
    launch(script)
    totals = [json.loads(p.read_text()) for p in sorted((tmp_path / "run").glob("*-of-2.json"))]
    assert len(totals) == 2
    assert totals[0] == totals[1]


def test_states_of_earlier_versions_are_read(tmp_path: Path, tiny: Settings) -> None:
    """They number what an optimiser remembers by the place of its weight."""
    earlier = {"adversarial_weight": 0.3, "architecture": {"network": "compact"}}
    settings = stage(tiny.changed({"defects": earlier}), 2)
    gan = CinGan(settings, ("a", "b"), Accelerator(cpu=True), seed=3)
    average = Average(gan.networks["generator"], 0.9)
    set_rates(gan, settings, 1)
    batch = {k: torch.from_numpy(v) for k, v in batches(0, 0).items()}
    gan.step(batch, torch.Generator().manual_seed(0), 0)
    save_state(tmp_path / "state.safetensors", gan, average, 1)
    about, tensors = read_tensors(tmp_path / "state.safetensors")
    for network in ("generator", "critic"):
        for number, (name, _) in enumerate(gan.networks[network].named_parameters()):
            for slot in ("step", "exp_avg", "exp_avg_sq"):
                moved = tensors.pop(f"optimizer.{network}.{name}.{slot}")
                tensors[f"optimizer.{network}.{number}.{slot}"] = moved
    write_tensors(tmp_path / "earlier.safetensors", tensors, {"step": about["step"]})
    again = CinGan(settings, ("a", "b"), Accelerator(cpu=True), seed=4)
    assert load_state(tmp_path / "earlier.safetensors", again, average) == 1
    for network, optimizer in gan.optimizers.items():
        pairs = zip(
            gan.networks[network].parameters(), again.networks[network].parameters(), strict=True
        )
        for before, after in pairs:
            for slot, value in optimizer.state[before].items():
                assert torch.equal(again.optimizers[network].state[after][slot], value)

"""The encoder's network: its export, its spectrum, its loss."""

import numpy as np
import onnxruntime
import pytest
import torch

from microscopygan.diagnosis.features import SIDE, count
from microscopygan.diagnosis.parameters import STAGES, parameters
from microscopygan.training.set_encoder import SetEncoder, encoder_loss, export_encoder, outputs


@pytest.fixture(scope="module")
def encoder() -> SetEncoder:
    torch.manual_seed(0)
    return SetEncoder()


def inputs(places: int, images: int, clean: int) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return [
        torch.rand(places, images, SIDE, SIDE, generator=rng),
        torch.rand(places, images, count(), generator=rng),
        torch.rand(places, clean, SIDE, SIDE, generator=rng),
        torch.rand(places, clean, count(), generator=rng),
    ]


def test_the_exported_encoder_agrees_with_torch_at_any_number_of_images(encoder, tmp_path) -> None:
    export_encoder(encoder, tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    for shape in ((1, 1, 1), (2, 3, 2)):
        given = inputs(*shape)
        with torch.no_grad():
            wanted = encoder(*given).numpy()
        names = [item.name for item in session.get_inputs()]
        feed = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
        assert np.abs(session.run(None, feed)[0] - wanted).max() < 1e-2
        assert wanted.shape == (shape[0], outputs())


def test_the_order_of_the_images_does_not_matter(encoder) -> None:
    images, numbers, alike, alike_numbers = inputs(1, 4, 2)
    with torch.no_grad():
        one = encoder(images, numbers, alike, alike_numbers)
        other = encoder(images.flip(1), numbers.flip(1), alike, alike_numbers)
    assert torch.allclose(one, other, atol=1e-5)


def test_the_spectrum_is_that_of_a_fourier_transform(encoder) -> None:
    image = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    window = torch.outer(encoder.window, encoder.window)
    power = torch.fft.fft2((image - image.mean()) * window).abs().pow(2)
    wanted = torch.fft.fftshift(torch.log(power / encoder.window.pow(2).sum() ** 2 + 1e-7) / 4)
    assert torch.allclose(encoder._log_power(image) - 1.5, wanted, atol=1e-3)


def test_the_loss_leaves_out_faint_stages_and_absent_parameters() -> None:
    logits = torch.zeros(1, outputs())
    strength, position = (
        torch.full((1, len(STAGES)), 60.0),
        torch.full((1, len(parameters())), torch.nan),
    )
    absent = encoder_loss(logits, strength, position, faint=42)
    assert absent == pytest.approx(len(STAGES) * np.log(2), rel=1e-4)
    first = [k for k, p in enumerate(parameters()) if p.stage == STAGES[0]]
    position[:, first] = 0.5
    strength[:, 0] = 50.0
    faint = encoder_loss(logits, strength, position, faint=42)
    assert faint == pytest.approx((len(STAGES) - 1) * np.log(2), rel=1e-4)
    strength[:, 0] = 30.0
    there = encoder_loss(logits, strength, position, faint=42)
    bins = sum(np.log(parameters()[k].bins) for k in first)
    assert there == pytest.approx(len(STAGES) * np.log(2) + 0.3 * bins, rel=1e-4)

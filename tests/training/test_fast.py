"""Training the network of quality instant: resuming, its basis, and the file it ships in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_world import jpeg

from impasto import encoders, weights
from impasto.errors import WeightsFileError
from impasto.fast import net as nets
from impasto.fast import stored
from training import fast
from training.data import Picture

CPU = torch.device("cpu")
TINY = fast.Config(styles=1, photos=1, basis=6, warmup=1, cooldown=1)


@pytest.fixture(scope="module")
def pictures() -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    made = [tuple(Picture(f"{kind}{i}", jpeg(10 * kind + i)) for i in range(3)) for kind in (1, 2)]
    return made[0], made[1]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fast, "COARSE", (128,))
    monkeypatch.setattr(fast, "FINE", (128,))
    monkeypatch.setattr(fast, "PAINTING_SIDE", 128)
    return


def trained(trainer: fast.Trainer) -> list[dict[str, float]]:
    return list(trainer.run())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("second", [0.0, 1.0])
def test_a_resumed_run_ends_as_one_that_never_stopped(
    pictures: tuple[tuple[Picture, ...], tuple[Picture, ...]], tmp_path: Path, second: float
) -> None:
    config = replace(TINY, steps=4, second=second)
    whole = fast.Trainer(config, pictures, CPU, dtype=torch.float32)
    whole.find_basis()
    whole.save(tmp_path / "start.ckpt")
    losses = trained(whole)
    first = fast.Trainer(config, pictures, CPU, dtype=torch.float32)
    first.load(tmp_path / "start.ckpt", fresh=True)
    for _, _ in zip(range(2), first.run(), strict=False):
        pass
    first.save(tmp_path / "half.ckpt")
    rest = fast.Trainer(config, pictures, CPU, dtype=torch.float32)
    rest.load(tmp_path / "half.ckpt")
    assert trained(rest) == losses[2:]
    for name, value in whole.named.items():
        assert torch.equal(value, rest.named[name]), name
        assert torch.equal(whole.ema[name], rest.ema[name]), name


@pytest.mark.usefixtures("small")
def test_the_kept_directions_vary_by_one(pictures: tuple[tuple[Picture, ...], tuple[Picture, ...]]) -> None:
    """Over the same images; and the first varies with the largest share of the features' variance, as numpy finds it."""
    trainer = fast.Trainer(TINY, pictures, CPU, dtype=torch.float32)
    trainer.find_basis()
    rng, rows = np.random.default_rng(0), []
    encoder = encoders.build(weights.load("lite"), ("relu2_1",), pooling="max", padding="replicate")
    for i in range(6):
        image = fast.crops(pictures[0] if i % 4 == 3 else pictures[1], rng, 1, fast.PAINTING_ZOOM, (64, 128, 192)[i % 3])
        F = encoder(image)["relu2_1"]
        rows.append((F[0].flatten(1).double().numpy(), trainer.net.basis.project("relu2_1", F)[0].flatten(1).double().numpy()))
    shares = [np.full(z.shape[1], 1 / z.shape[1] / 6) for _, z in rows]
    F, z = (np.concatenate([row[k] for row in rows], 1) for k in (0, 1))
    covariance = np.cov(z, aweights=np.concatenate(shares), bias=True)
    np.testing.assert_allclose(covariance, np.eye(len(covariance)), atol=0.02)
    values, vectors = np.linalg.eigh(np.cov(F, aweights=np.concatenate(shares), bias=True))
    center, directions = trainer.net.basis.of("relu2_1")
    assert abs(directions[:, 0].double().numpy() @ vectors[:, -1]) * values[-1] ** 0.5 == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(center, np.average(F, axis=1, weights=np.concatenate(shares)), atol=1e-3)


def test_the_exported_file_is_the_moving_average(
    pictures: tuple[tuple[Picture, ...], tuple[Picture, ...]], tmp_path: Path
) -> None:
    trainer = fast.Trainer(TINY, pictures, CPU)
    for value in trainer.ema.values():
        value.add_(0.125)
    trainer.save(tmp_path / "a.ckpt")
    fast.export(tmp_path / "a.ckpt", output=tmp_path / "net.safetensors")
    found = stored.load(tmp_path / "net.safetensors")
    for name, value in trainer.ema.items():
        torch.testing.assert_close(found.net.state_dict()[name], value.half().float(), rtol=0, atol=0)
    assert found.card.encoder == weights.load("lite").digest
    again = fast.Trainer(TINY, pictures, CPU)
    again.load(tmp_path / "net.safetensors", fresh=True)
    for name, value in again.named.items():
        assert torch.equal(value, trainer.ema[name].half().float()), name
        assert torch.equal(value, again.ema[name]), name
    (tmp_path / "b.ckpt").write_bytes((tmp_path / "net.safetensors").read_bytes())
    with pytest.raises(WeightsFileError, match="not a checkpoint"):
        fast.export(tmp_path / "b.ckpt", output=tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_crops_are_squares_of_the_image() -> None:
    picture = Picture("one", jpeg(5))
    found = fast.crops((picture,), np.random.default_rng(0), 3, 1.0, 64)
    assert found.shape == (3, 3, 64, 64)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert max(fast.origin(np.random.default_rng(1))) < nets.MULTIPLE * nets.TILE

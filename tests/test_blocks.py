"""Block by block is the whole: losses and gradients of every tap and method, compared with the computation at once."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import reference
import torch
from impasto.blocks import Blockwise, Size, Sturdy, Way, cores, features_of, grid, stretches
from impasto.devices import Appetite, Demand, Plan
from PIL import Image
from torch import Tensor

import impasto
from impasto import blocks, devices, losses, optimize, pictures, records, weights
from impasto.encoders import VGG, Encoder, Lite, Padding, Pooling, density
from impasto.encoders.vgg import operations
from impasto.losses import ContentLoss, PaletteLoss, StyleLoss, Term, VariationLoss, weighted
from impasto.styles import Blend, Painted
from impasto.stylizer import Run

SIZES = [(64, 96), (101, 75), (37, 150)]  # whole steps of 16 pixels, and such that poolings round down
VGG_TAPS = [tap for _, tap in operations("vgg16")]
STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@pytest.fixture(scope="module")
def small_vgg() -> dict[str, Tensor]:
    arrays = reference.random_vgg("vgg16", "conv5_3", (4, 6, 8, 8, 8), seed=3)
    return {name: torch.from_numpy(array).float() for name, array in arrays.items()}


def lite(taps: Sequence[str], pooling: Pooling = "max", padding: Padding = "replicate") -> Encoder:
    encoder = Lite(weights.load("lite").tensors, taps, pooling=pooling, padding=padding)
    return encoder.prepare(torch.device("cpu"), torch.float64)


def vgg(tensors: dict[str, Tensor], taps: Sequence[str], pooling: Pooling, padding: Padding) -> Encoder:
    encoder = VGG("vgg16", tensors, taps, pooling=pooling, padding=padding).prepare(torch.device("cpu"), torch.float64)
    return encoder.double()


def picture(size: tuple[int, int], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """1x3xHxW, smooth here and rough there."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 7, generator=generator, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    grain = torch.rand(1, 3, *size, generator=generator, dtype=torch.float64) * torch.linspace(0, 0.5, size[1])
    return (smooth * 0.7 + grain).clamp(0, 1).to(dtype)


def apart(found: tuple[dict[str, float], Tensor], expected: tuple[dict[str, float], Tensor]) -> float:
    """The largest relative distance, of losses and of gradients."""
    assert found[0].keys() == expected[0].keys()
    values = [abs(found[0][name] - value) / abs(value) for name, value in expected[0].items()]
    return max(*values, float((found[1] - expected[1]).norm() / expected[1].norm()))


# ---------------------------------------------------------------------------------------------------------------- geometry


def spread_of_nan(encoder: Encoder, tap: str, size: tuple[int, int], rows: slice) -> set[int]:
    """Which rows of a tap's maps see rows of the picture: NaN goes wherever a filter looks, even through a weight of 0.

    In float64, where torch's own ReLU hands it on: oneDNN's, behind a convolution, makes it 0.
    """
    image = torch.zeros(1, 3, *size, dtype=torch.float64)
    image[..., rows, :] = math.nan
    whole = encoder.prepare(torch.device("cpu"), torch.float64).double().only([tap])
    seen = whole(image)[tap].isnan().any(dim=1).any(dim=-1)[0]
    return set(seen.nonzero()[:, 0].tolist())


@pytest.mark.parametrize("tap", [*Lite.known, *(f"vgg16 {tap}" for tap in VGG_TAPS)])
def test_reach_is_what_a_tap_sees(tap: str, small_vgg: dict[str, Tensor]) -> None:
    encoder: Encoder = (
        VGG("vgg16", small_vgg, [tap.split()[1]])
        if " " in tap
        else Lite(weights.load("lite").tensors, [tap], pooling="average").prepare(torch.device("cpu"), torch.float32)
    )
    (tap,) = encoder.taps
    stride, reach = encoder.stride(tap), encoder.reach(tap)
    height, edge = 416, 192
    positions = set(range(height // stride))
    assert encoder.size_at(tap, (height, 32)) == (height // stride, 32 // stride)
    # what lies `reach` pixels above a position's own is the last thing it does not see, and the same below
    touched = spread_of_nan(encoder, tap, (height, 32), slice(0, edge))
    assert positions - touched == {p for p in positions if p * stride - reach >= edge}
    touched = spread_of_nan(encoder, tap, (height, 32), slice(edge, height))
    assert positions - touched == {p for p in positions if (p + 1) * stride + reach <= edge}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [16, 32, 48, 64, 1000])
def test_blocks_share_out_every_position_of_every_tap(size: tuple[int, int], side: int) -> None:
    encoder = lite(STYLE)
    for tap in STYLE:
        count = torch.zeros(1, 1, *encoder.size_at(tap, size))
        for part in grid(encoder, size, side):
            part.of(count, tap).add_(1)
        assert torch.equal(count, torch.ones_like(count))
    pixels = torch.zeros(1, 1, *size)
    for part in grid(encoder, size, side):
        pixels[..., part.rows, part.columns] += 1
        assert max(part.size) < max(side, 16) + 16
    assert torch.equal(pixels, torch.ones_like(pixels))


def test_blocks_are_of_about_the_same_size() -> None:
    assert cores(8192, 1024, 16) == [slice(i, i + 1024) for i in range(0, 8192, 1024)]
    lengths = [core.stop - core.start for core in cores(1100, 1024, 16)]
    assert lengths == [544, 556]
    assert cores(21, 16, 16) == [slice(0, 21)]


@pytest.mark.parametrize("network", ["lite", "vgg16"])
@pytest.mark.parametrize("block", [1, 2, 3, 4])
def test_an_encoder_in_two_is_the_encoder(network: str, block: int, small_vgg: dict[str, Tensor]) -> None:
    whole = lite(Lite.known) if network == "lite" else vgg(small_vgg, VGG_TAPS, "average", "zero")
    image = picture((101, 75), 1)
    first, second = whole.split_after(block)
    assert second is not None
    begun = first(image)
    maps = {tap: F for tap, F in begun.items() if tap in whole.taps} | second(begun[whole.pool_tap(block)])
    assert maps.keys() == whole.taps
    assert all(torch.equal(F, maps[tap]) for tap, F in whole(image).items())


def test_what_lies_before_the_parting_is_not_parted() -> None:
    shallow = lite(["relu1_1", "relu2_1"])
    assert shallow.split_after(2) == (shallow, None)
    assert len(stretches(shallow)) == 1
    near, third, fourth, last = stretches(lite(STYLE))
    taps = [near.encoder.taps, third.encoder.taps, fourth.encoder.taps, last.encoder.taps]
    assert taps == [
        {"relu1_1", "relu2_1", near.handed},
        {"relu3_1", third.handed},
        {"relu4_1", fourth.handed},
        {"relu5_1"},
    ]
    assert last.handed == ""
    # its margin is 8 pixels on either side, which begins at a multiple of 4; 68 of all that lies beyond
    (top, left, *_) = (part for part in near.grid((96, 96), 32) if part.rows.start and part.columns.start)
    assert (top.seen_rows, left.seen_columns) == (slice(24, 72), slice(56, 96))
    margins = [max(map(one.encoder.reach, one.encoder.taps)) for one in (near, third, fourth, last)]
    assert sum(margins) == max(map(lite(STYLE).reach, STYLE))
    assert len(stretches(lite(["relu1_1", "relu4_1"]))) == 3


# ------------------------------------------------------------------------------------------------------- every single term


CASES = [("average", "zero", (101, 75), 32), ("max", "replicate", (64, 96), 48), ("max", "zero", (37, 86), 16)]


@pytest.mark.parametrize(("pooling", "padding", "size", "side"), CASES)
@pytest.mark.parametrize("network", ["lite", "vgg16"])
def test_every_tap_and_measure(
    network: str, pooling: Pooling, padding: Padding, size: Size, side: int, small_vgg: dict[str, Tensor]
) -> None:
    taps = STYLE if network == "lite" else VGG_TAPS
    if pooling == "average" and network == "lite":
        taps = [tap for tap in Lite.known if tap not in STYLE]
    encoder = lite(taps, pooling, padding) if network == "lite" else vgg(small_vgg, taps, pooling, padding)
    image, photo, painting = (picture(size, seed) for seed in (1, 2, 3))
    seen, learnt = encoder(photo), encoder(painting)
    for tap in taps:
        A = losses.gram(learnt[tap]) / losses.positions(learnt[tap])
        T = torch.rand(1, 1, *seen[tap].shape[-2:], generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        measured = [
            ContentLoss(tap, seen[tap]),
            ContentLoss(tap, seen[tap], losses.relative, T),
            StyleLoss(tap, A),
            StyleLoss(tap, A, losses.relative_style_loss, T),
        ]
        one = encoder.only([tap])
        # brought to the same size, so that none hides another in the gradient
        values = [float(loss(image, one(image))) for loss in measured]
        terms = [Term(str(i), 1 / value, loss) for i, (loss, value) in enumerate(zip(measured, values, strict=True))]
        expected = optimize.evaluate(objective(one, terms), image)
        assert apart(Blockwise(one, terms, side).evaluate(image), expected) < 1e-10, tap


def test_what_is_handed_on_may_have_losses_of_its_own(small_vgg: dict[str, Tensor]) -> None:
    taps = ["relu1_1", "pool2", "relu3_1", "pool3", "relu4_2", "pool4"]
    encoder = vgg(small_vgg, taps, "average", "zero")
    image, photo, painting = (picture((101, 75), seed) for seed in (1, 2, 3))
    seen, learnt = encoder(photo), encoder(painting)
    terms = [Term("style", 1.0, StyleLoss(tap, losses.gram(F) / losses.positions(F))) for tap, F in learnt.items()]
    terms += [Term("content", 1.0, ContentLoss(tap, F)) for tap, F in seen.items()]
    assert len(stretches(encoder)) == 3
    assert apart(Blockwise(encoder, terms, 32).evaluate(image), optimize.evaluate(objective(encoder, terms), image)) < 1e-10
    found = features_of(encoder, photo, taps, 32)
    assert list(found) == list(seen)
    assert all(torch.allclose(F, found[tap], rtol=1e-12, atol=1e-12) for tap, F in seen.items())


def test_what_is_handed_on_is_there_while_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of it as the plan counts, and nothing of it when the gradient is there."""
    encoder, image, photo = lite(STYLE), picture((96, 160), 1), picture((96, 160), 2)
    learnt = encoder(picture((64, 64), 3))
    terms = [Term("style", 1.0, StyleLoss(tap, losses.gram(F) / losses.positions(F))) for tap, F in learnt.items()]
    terms.append(Term("content", 1.0, ContentLoss("relu4_1", encoder(photo)["relu4_1"])))
    there, counts = weakref.WeakSet[torch.UntypedStorage](), [0]

    def counted(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made(*args: object) -> Tensor:
            maps = make(*args)
            if maps.shape[1] > 3:
                there.add(maps.untyped_storage())
                counts.append(sum(storage.nbytes() for storage in there) // maps.itemsize)
            return maps

        return made

    expected = Blockwise(encoder, terms, 48).evaluate(image)
    monkeypatch.setattr("impasto.blocks._maps", counted(blocks._maps))
    monkeypatch.setattr(torch, "zeros_like", counted(torch.zeros_like))
    way = Blockwise(encoder, terms, 48)
    for shown in (photo, image):  # what one evaluation leaves there is nothing to the next
        found = way.evaluate(shown)
        assert not there
    assert found[0] == expected[0]
    assert torch.equal(found[1], expected[1])
    needs = [density(encoder, [one.handed]) if one.handed else 0.0 for one in way.stretches]
    demands = tuple(Demand(trunk=1, heads=1, margin=1, handed=handed) for handed in needs)
    assert max(counts) == devices._handed(Appetite(demands)) * 96 * 160


def objective(encoder: Encoder, terms: Sequence[Term]) -> Callable[[Tensor], dict[str, Tensor]]:
    return lambda image: weighted(terms, image, encoder(image))


@pytest.mark.parametrize("size", SIZES)
def test_what_looks_at_the_picture_itself(size: Size) -> None:
    encoder, image = lite(["relu2_1"]), picture(size, 1)
    terms = [
        Term("palette", 3.0, PaletteLoss(losses.quantiles(picture((40, 40), 2)))),
        Term("variation", 2.0, VariationLoss()),
        Term("palette", 1.0, PaletteLoss(losses.quantiles(picture((30, 30), 3)), picture(size, 4)[:, :1])),
    ]
    expected = optimize.evaluate(objective(encoder, terms), image)
    assert list(expected[0]) == ["palette", "variation"]
    before = image.clone()
    assert apart(Blockwise(encoder, terms, 32).evaluate(image), expected) < 1e-12
    assert torch.equal(image, before)
    assert not image.requires_grad
    assert (
        apart(Blockwise(encoder, terms[1:2], 32).evaluate(image), optimize.evaluate(objective(encoder, terms[1:2]), image))
        < 1e-12
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tap", ["relu1_1", "relu3_1", "trunk3_3"])
def test_a_photograph_in_blocks_is_measured_as_a_whole(size: Size, tap: str) -> None:
    encoder, photo = lite(["relu4_1", tap]), picture(size, 2)
    P = encoder(photo)[tap]
    seen = features_of(encoder, photo, [tap, "relu4_1"], 32)
    assert set(seen) == {tap, "relu4_1"}
    torch.testing.assert_close(seen[tap], P, rtol=1e-10, atol=1e-12)


def test_a_large_painting_is_looked_at_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, painting = lite(STYLE), picture((90, 133), 3)
    for weight in (None, picture((45, 66), 5)[:, :1]):
        whole = Painted(painting, encoder, STYLE, weight=weight).squeezed((101, 150))
        with monkeypatch.context() as patch:
            patch.setattr("impasto.styles.base.LARGE", 1000)
            patch.setattr("impasto.styles.base.SIDE", 48)
            found = Painted(painting, encoder, STYLE, weight=weight).squeezed((101, 150))
        asked = Blend([(Painted(painting, encoder, STYLE, weight=weight), 1.0)])
        asked.look_in_blocks(32)
        for tap, A in whole.items():
            torch.testing.assert_close(found[tap], A, rtol=1e-10, atol=1e-14)
            torch.testing.assert_close(asked.squeezed((101, 150))[tap], A, rtol=1e-10, atol=1e-14)


# ---------------------------------------------------------------------------------------------------------- whole runs


def saved(folder: Path, name: str, size: Size, seed: int) -> Path:
    pictures.to_image(picture(size, seed, torch.float32)).save(folder / f"{name}.png")
    return folder / f"{name}.png"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A photograph, two paintings, a soft mask and a pair of colour masks."""
    folder = tmp_path_factory.mktemp("files")
    found = {name: saved(folder, name, (75, 101), seed) for seed, name in enumerate(("photo", "one", "two"), start=2)}
    ramp = Image.linear_gradient("L").resize((101, 75))
    halves = Image.new("RGB", (101, 75), "red")
    halves.paste("blue", (0, 0, 50, 75))
    for name, mask in {"ramp": ramp, "halves": halves, "left": halves.getchannel("B")}.items():
        found[name] = folder / f"{name}.png"
        mask.save(found[name])
    return found


RUNS: dict[str, tuple[list[str], dict[str, object]]] = {
    "as it is": (["one"], {}),
    "several styles": (["one", "two"], {"blend": (0.7, 0.3), "tv_weight": 3.0}),
    "masks": (["one"], {"mask": ("ramp=two", "left=keep")}),
    "paired masks": (["one"], {"content_mask": "halves", "style_mask": "halves"}),
    "taps": (["one"], {"content_taps": ("relu2_1", "relu4_1"), "style_taps": ("trunk3_3", "conv4_1"), "padding": "zero"}),
    "published": (["one"], {"method": "gatys", "tv_weight": 1.0}),
    "published, masks": (["one"], {"method": "gatys", "mask": ("ramp=two",), "padding": "zero", "keep_colors": "luma"}),
}


def run_of(files: dict[str, Path], name: str, **more: object) -> Run:
    styles, options = RUNS[name]
    named = {key: files[str(value)] if key.endswith("_mask") else value for key, value in options.items()}
    if "mask" in named:
        words = [text.split("=") for text in options["mask"]]  # type: ignore[attr-defined]
        named["mask"] = tuple(f"{files[mask]}={files.get(style, style)}" for mask, style in words)
    settings = {"encoder": "lite", "precision": "fp32", "size": 117} | named | more
    return impasto.Stylizer(**settings).run(files["photo"], [files[style] for style in styles])


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("side", [32, 64])
def test_a_run_in_blocks_is_the_run_at_once(files: dict[str, Path], name: str, side: int) -> None:
    """Where rounding decides whether a ReLU is on, a gradient may differ around that one place; in another picture it does not."""
    run = run_of(files, name)
    blocks, whole = run.way(run.size, side), run.way(run.size, None)
    for seed in range(9, 15):
        image = picture(run.size, seed, torch.float32)
        distance = apart(blocks(image), whole(image))
        assert distance < 2e-3
        if distance < 1e-4:
            return
    pytest.fail("it differs in six pictures")


def test_a_picture_painted_in_blocks_is_nearly_the_picture(files: dict[str, Path]) -> None:
    """Nearly, because rounding grows on the way; the losses it ends with are the same."""
    whole, parts = (run_of(files, "masks", iterations=12, size=96) for _ in range(2))
    parts.plan = lambda size: Plan(side=32)  # type: ignore[method-assign]
    images = [run.finish() for run in (whole, parts)]
    assert whole.last is not None
    assert parts.last is not None
    assert parts.last.total == pytest.approx(whole.last.total, rel=0.01)
    assert records.apart(images[0], saved_image(files, images[1]))[1] <= 8


def saved_image(files: dict[str, Path], image: Image.Image) -> Path:
    place = files["photo"].with_name("parts.png")
    image.save(place)
    return place


# ----------------------------------------------------------------------------------------------------- running out of memory


def test_running_out_of_memory_goes_on_in_smaller_blocks() -> None:
    tried: list[int | None] = []

    def make(side: int | None) -> Way:
        def way(image: Tensor) -> tuple[dict[str, float], Tensor]:
            tried.append(side)
            if side is None or side > 200:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
            return {"content": 1.0}, image

        return way

    objective = Sturdy(make, 1600)
    image = torch.zeros(1, 3, 2, 2)
    assert objective.evaluate(image) == ({"content": 1.0}, image)
    objective.evaluate(image)
    assert tried == [None, 800, 400, 200, 200]


@pytest.mark.parametrize("error", [MemoryError(), ValueError("out of reach"), RuntimeError("shapes do not fit")])
def test_what_smaller_blocks_cannot_mend_is_raised(error: Exception) -> None:
    def make(side: int | None) -> Way:
        raise error

    with pytest.raises(type(error)):
        Sturdy(make, 400, 100).evaluate(torch.zeros(1, 3, 2, 2))

"""Flow, reliability, warping and carrying, against motion that is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")

import itertools

from motion import Motion

from impasto.inputs import SAMPLE
from impasto.pictures import load
from impasto.video import flow
from impasto.video.carry import backward, between, carried, composed, onward
from impasto.video.consistency import warping_error
from impasto.video.moments import Moment, moments
from impasto.video.temporal import Earlier, exclusive

SIZE = (96, 160)


def clip(kind: str, count: int = 6) -> tuple[Motion, list[torch.Tensor]]:
    photo = load(SAMPLE).pixels[0].permute(1, 2, 0).contiguous().numpy()
    motion = Motion(photo, SIZE, kind, count)
    return motion, [tensor(frame) for frame in motion.frames()]


def tensor(frame: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1)[None].contiguous()


def as_moments(frames: list[torch.Tensor]) -> list[Moment]:
    return list(moments((number, frame, number / len(frames), ()) for number, frame in enumerate(frames)))


@pytest.mark.parametrize("kind", ["still", "pan", "zoom", "turn"])
def test_flow_is_the_known_motion(kind: str) -> None:
    motion, frames = clip(kind)
    one, other = as_moments(frames)[2:4]
    found = other.motion_from(one)
    known, visible = motion.back(3, 2)
    away = np.hypot(*np.moveaxis(found.back - known, -1, 0))
    where = (found.reliable > 0.9) & (visible > 0)
    assert where.mean() > 0.8
    assert away[where].mean() < 0.25
    assert np.quantile(away[where], 0.95) < 1


def test_what_comes_into_view_is_not_reliable() -> None:
    motion, frames = clip("foreground")
    one, other = as_moments(frames)[2:4]
    found = other.motion_from(one)
    _, visible = motion.back(3, 2)
    assert found.reliable[visible == 0].mean() < 0.6 * found.reliable[visible > 0].mean()


def slow_reliability(flow_: np.ndarray, back: np.ndarray) -> np.ndarray:
    """The rule pixel by pixel, before the blur: 1 reliable, 0 border of motion, -1 occluded."""
    height, width = flow_.shape[:2]
    found = np.ones((height, width))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            u, v = map(float, flow_[y, x])
            bx, by = x + u, y + v
            if not (0 <= bx <= width - 1 and 0 <= by <= height - 1):
                found[y, x] = -1
                continue
            x0, y0 = min(int(bx), width - 2), min(int(by), height - 2)
            fx, fy = bx - x0, by - y0
            corners = [(1 - fy, 1 - fx, y0, x0), (1 - fy, fx, y0, x0 + 1), (fy, 1 - fx, y0 + 1, x0), (fy, fx, y0 + 1, x0 + 1)]
            u2, v2 = sum(a * b * back[r, c].astype(float) for a, b, r, c in corners)
            if (u + u2) ** 2 + (v + v2) ** 2 >= 0.01 * (u * u + v * v + u2 * u2 + v2 * v2) + 0.5:
                found[y, x] = -1
                continue
            down, right = (flow_[y + 1, x] - flow_[y - 1, x]) / 2, (flow_[y, x + 1] - flow_[y, x - 1]) / 2
            if float(down @ down + right @ right) > 0.01 * (u * u + v * v) + 0.002:
                found[y, x] = 0
    return found


def test_reliability_is_the_published_rule() -> None:
    import cv2

    noise = np.random.default_rng(5)
    rough = cv2.GaussianBlur(noise.normal(0, 9, (24, 32, 2)).astype(np.float32), (0, 0), 3)
    smooth = np.full((24, 32, 2), (2.3, -1.6), np.float32)
    smooth[:, 20:] += rough[:, 20:]  # a border of motion, and motion with steep borders
    back = -smooth + np.where(np.arange(24)[:, None, None] < 8, 1.5, 0.1).astype(np.float32)  # wrong in the upper third
    rule = slow_reliability(smooth, back).astype(np.float32)
    wanted = np.clip(cv2.GaussianBlur(rule, (0, 0), flow.BLUR), 0, 1)
    found = flow.reliability(smooth, back)
    assert 0.1 < wanted[4:-4, 4:-4].mean() < 0.95  # all three kinds are there
    assert set(np.unique(rule)) == {-1, 0, 1}
    assert np.abs(found - wanted)[4:-4, 4:-4].max() < 0.02


def test_warping_by_whole_pixels_moves_pixels() -> None:
    image = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    shift = np.zeros((20, 30, 2), np.float32)
    shift[..., 0], shift[..., 1] = 3, -2
    found = flow.warped(image, flow.coordinates(shift))
    assert torch.allclose(found[..., 2:, :-3], image[..., :-2, 3:], atol=1e-6)


@pytest.mark.parametrize("kind", ["pan", "zoom", "turn", "foreground"])
def test_the_warping_error_of_a_moving_picture_is_small_and_of_noise_is_twice_its_variance(kind: str) -> None:
    motion, frames = clip(kind)
    own = warping_error(frames, motion.back)
    assert own < 1e-3
    generator = torch.Generator().manual_seed(1)
    noisy = [frame + 0.1 * torch.randn(frame.shape, generator=generator) for frame in frames]
    # a bicubic warp keeps 0.6 to 1 of the variance of white noise
    assert 0.01 + 0.006 < warping_error(noisy, motion.back) - own < 0.0205


def test_warping_error_at_a_distance_and_with_nothing_in_view() -> None:
    frames = [torch.full((1, 3, 8, 8), value / 10) for value in range(5)]
    still = np.zeros((8, 8, 2), np.float32)
    everywhere, nowhere = np.ones((8, 8), np.float32), np.zeros((8, 8), np.float32)
    assert warping_error(frames, lambda now, then: (still, everywhere)) == pytest.approx(0.01, rel=1e-4)
    assert warping_error(frames, lambda now, then: (still, everywhere), 3) == pytest.approx(0.09, rel=1e-4)
    assert warping_error(frames, lambda now, then: (still, nowhere)) == 0


def test_a_course_over_many_frames_is_sharper_than_many_warps() -> None:
    _, frames = clip("pan", 9)
    shown = as_moments(frames)
    steps = [onward(later.motion_from(earlier)) for earlier, later in itertools.pairwise(shown)]
    once = carried(shown[0], frames[0], shown[-1], composed(steps)[-1])
    again = frames[0]
    for step in steps:
        again = flow.warped(again, step.there)
    where = once.reliable > 0.9
    assert where.float().mean() > 0.4

    def error(image: torch.Tensor) -> float:
        return float(((image - frames[-1]).square().mean(1, keepdim=True) * where).sum() / where.sum())

    assert error(once.image) < error(again)
    assert error(once.image) < 2e-3


def test_results_are_carried_back_as_well() -> None:
    _, frames = clip("pan")
    shown = as_moments(frames)
    back = backward(shown[3].motion_from(shown[2]))
    found = carried(shown[3], frames[3], shown[2], back)
    where = found.reliable > 0.9
    assert float(((found.image - frames[2]).abs() * where).sum() / where.sum() / 3) < 0.02


def test_a_result_is_not_carried_where_the_colors_have_changed() -> None:
    _, frames = clip("still", 2)
    lit = frames[1].clone()
    lit[..., 80:] = (lit[..., 80:] + 0.4).clamp(0, 1)
    one, other = as_moments([frames[0], lit])
    course = onward(flow.Motion(*[np.zeros((*SIZE, 2), np.float32), np.ones(SIZE, np.float32)] * 2))
    reliable = carried(one, frames[0], other, course).reliable
    assert reliable[..., :80].mean() > 0.99
    assert reliable[..., 80:].mean() < 0.1


def test_between_two_results() -> None:
    own = torch.zeros(1, 3, 1, 4)
    weights = torch.tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]).view(2, 1, 1, 1, 4)
    doubtful = torch.tensor([1.0, 1.0, 1.0, 0.0]).view(1, 1, 1, 4)
    first, last = (
        Earlier(torch.full((1, 3, 1, 4), value), one, usable)
        for value, one, usable in zip((0.2, 1.0), weights, (weights[0], torch.maximum(weights[1], doubtful)), strict=True)
    )
    found = between(first, last, 0.25, own)
    third = (0.2 * 1.1 * 0.75 + 1.0 * 0.1 * 0.25) / (1.1 * 0.75 + 0.1 * 0.25)  # the last one is only usable there
    assert torch.allclose(found.image[0, 0, 0], torch.tensor([0.4, 1.0, third, 0.0]))
    assert torch.equal(found.reliable[0, 0, 0], torch.tensor([1.0, 1.0, 1.0, 0.0]))


def test_further_results_count_where_nearer_ones_do_not() -> None:
    weights = [torch.tensor([1.0, 0.5, 0.0]), torch.tensor([1.0, 1.0, 0.25]), torch.tensor([1.0, 1.0, 1.0])]
    found = exclusive([Earlier(torch.zeros(1, 3, 1, 3), *[weight.view(1, 1, 1, 3)] * 2) for weight in weights])
    assert [one.reliable.flatten().tolist() for one in found] == [[1, 0.5, 0], [0, 0.5, 0.25], [0, 0, 0.75]]


def test_cuts_are_found_and_motion_is_none() -> None:
    _, pan = clip("pan", 4)
    other = [1 - frame.flip(-1) for frame in clip("zoom", 4)[1]]
    found = as_moments([*pan, *other, *pan])
    assert [moment.number for moment in found if moment.cut] == [0, 4, 8]


def test_a_fade_and_a_flash_are_no_cuts() -> None:
    _, frames = clip("still", 8)
    fading = [frame * (1 - 0.08 * number) for number, frame in enumerate(frames)]
    assert [moment.number for moment in as_moments(fading) if moment.cut] == [0]

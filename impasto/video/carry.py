"""Carrying results from one frame to another along the motion between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.video import flow
from impasto.video.flow import Floats, Motion, coordinates, inside, warped
from impasto.video.moments import Moment
from impasto.video.temporal import Earlier

UNLIKE = 0.08  # mean difference of a frame's colors to the carried ones at which a result counts by 1/e
DOUBT = 0.1  # weight of a result that is only usable, relative to one that can be relied on


@dataclass(frozen=True)
class Course:
    """Where the pixels of a frame come from in another one, which has a result.

    there: HxWx2 coordinates; reliable: HxW, 0..1, how far they can be relied on. A longer course composes the coordinates of its parts.
    Warping an image again and again would blur it.
    """

    there: Floats
    reliable: Floats

    def followed_by(self, further: Course) -> Course:
        """The course of a frame further on. further: from that frame to the one of this course."""
        cv2 = flow.opencv()
        there = cv2.remap(self.there, further.there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        before = cv2.remap(self.reliable, further.there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return Course(there, before * further.reliable)


def onward(motion: Motion) -> Course:
    """The course of the later of two frames, from the earlier one."""
    return Course(coordinates(motion.back), motion.reliable)


def backward(motion: Motion) -> Course:
    """The course of the earlier of two frames, from the later one."""
    return Course(coordinates(motion.ahead), motion.ahead_reliable)


def composed(steps: Sequence[Course]) -> list[Course]:
    """The courses of all frames from the one before the first step."""
    found = list[Course]()
    for step in steps:
        found.append(found[-1].followed_by(step) if found else step)
    return found


def carried(origin: Moment, result: Tensor, now: Moment, course: Course) -> Earlier:
    """The result of a frame as another one sees it.

    Where the course leads to other colors it is not relied on: it is wrong, or the light has changed.
    """
    unlike = (warped(origin.pixels, course.there) - now.pixels).abs().mean(1, keepdim=True)
    alike = torch.exp(-(unlike / UNLIKE).square())
    reliable = torch.from_numpy(course.reliable)[None, None] * alike
    usable = torch.from_numpy(inside(course.there))[None, None] * alike
    return Earlier(warped(result, course.there).clamp(0, 1), reliable, torch.maximum(reliable, usable))


def between(first: Earlier, last: Earlier, share: float, own: Tensor) -> Earlier:
    """Two carried results in one, and the frame's own, 1x3xHxW, where neither can be relied on.

    share: how near the last one is, 0..1.
    """
    near, far = (first.reliable + DOUBT * first.usable) * (1 - share), (last.reliable + DOUBT * last.usable) * share
    mean = (first.image * near + last.image * far) / (near + far).clamp_min(torch.finfo(near.dtype).tiny)
    usable = torch.maximum(first.usable, last.usable)
    return Earlier(torch.lerp(own, mean, usable), torch.maximum(first.reliable, last.reliable), usable)

"""Clips with known motion, from a still photograph: pans, zooms, turns, a moving foreground, and a still scene.

Flow and occlusions are exact, so that a measure of consistency does not depend on an estimate of the flow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

KINDS = ("still", "pan", "zoom", "turn", "foreground")


@dataclass(frozen=True)
class Motion:
    """A clip of a view that moves over a photograph. photo: HxWx3 float32, 0..1; size: (height, width) of a frame."""

    photo: Any
    size: tuple[int, int]
    kind: str
    count: int

    def frames(self) -> Iterator[Any]:
        """HxWx3 float32 frames, 0..1."""
        for number in range(self.count):
            yield self.frame(number)

    def frame(self, number: int) -> Any:
        """A frame."""
        matrix = self._view(number)
        height, width = self.size
        found = cv2.warpAffine(
            self.photo, matrix[:2], (width, height), flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC
        )
        if self.kind == "foreground":
            inside = self._inside(number)[..., None]
            patch = cv2.warpAffine(
                self.photo[:, ::-1].copy(),
                self._patch(number)[:2],
                (width, height),
                flags=cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC,
            )
            found = found * (1 - inside) + patch * inside
        return np.clip(found, 0, 1)

    def back(self, number: int, earlier: int) -> tuple[Any, Any]:
        """The flow from a frame to an earlier one, HxWx2, and where it holds, HxW: what is in view in both, and occluded in neither."""
        height, width = self.size
        found = self._flow(self._view(number), self._view(earlier))
        visible = np.ones(self.size, np.float32)
        if self.kind == "foreground":
            now, then = self._inside(number) > 0.5, self._inside(earlier)
            moved = self._flow(self._patch(number), self._patch(earlier))
            found = np.where(now[..., None], moved, found)
            there = self._there(found)
            was = cv2.remap(then, there, None, cv2.INTER_LINEAR) > 0.5
            border = cv2.dilate(now.astype(np.uint8), np.ones((3, 3))) != cv2.erode(now.astype(np.uint8), np.ones((3, 3)))
            visible[(was != now) | border] = 0
        there = self._there(found)
        inside = (there >= 0).all(-1) & (there[..., 0] <= width - 1) & (there[..., 1] <= height - 1)
        return found, visible * inside

    def _there(self, flow: Any) -> Any:
        rows, columns = np.mgrid[: self.size[0], : self.size[1]].astype(np.float32)
        return (flow + np.stack([columns, rows], -1)).astype(np.float32)

    def _flow(self, now: Any, then: Any) -> Any:
        rows, columns = np.mgrid[: self.size[0], : self.size[1]].astype(np.float64)
        places = np.stack([columns, rows, np.ones_like(rows)], -1)
        return ((places @ (np.linalg.inv(then) @ now).T)[..., :2] - places[..., :2]).astype(np.float32)

    def _view(self, number: int) -> Any:
        """From places in the frame to places in the photograph, 3x3."""
        height, width = self.photo.shape[:2]
        most = min(width / self.size[1], height / self.size[0])
        scale, angle, along = 0.8 * most, 0.0, 0.0
        if self.kind == "zoom":
            scale *= 1.01**-number
        elif self.kind == "turn":
            scale, angle = 0.6 * most, math.radians(0.5 * number)
        elif self.kind in ("pan", "foreground"):
            along = 2.3 * scale * (number - (self.count - 1) / 2)
        return self._placed(scale, angle, width / 2 + along, height / 2 + 0.3 * along)

    def _patch(self, number: int) -> Any:
        """The same for the foreground, which is a part of the mirrored photograph."""
        height, width = self.photo.shape[:2]
        scale = 0.8 * min(width / self.size[1], height / self.size[0])
        return self._placed(scale, 0, width / 2 - 3.1 * scale * number, height / 2 + 1.2 * scale * number)

    def _placed(self, scale: float, angle: float, x: float, y: float) -> Any:
        turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        center = np.array([(self.size[1] - 1) / 2, (self.size[0] - 1) / 2])
        found = np.eye(3)
        found[:2, :2], found[:2, 2] = turn, np.array([x, y]) - turn @ center
        return found

    def _inside(self, number: int) -> Any:
        """Where the foreground is, HxW in 0..1: an ellipse that moves with it."""
        height, width = self.size
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        x, y = width * 0.3 + 3.1 * number, height * 0.45 - 1.2 * number
        away = np.hypot((columns - x) / (width * 0.16), (rows - y) / (height * 0.25))
        return np.clip((1 - away) * height * 0.2, 0, 1).astype(np.float32)

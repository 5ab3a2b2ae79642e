"""Why a source is refused."""

from __future__ import annotations


class RefusedError(Exception):
    """A source is not an image that can be used. `read` turns it into a PictureError that begins with the source's name.

    problem: what is wrong, without a subject. remedy: what to do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def too_many(count: int | None, max_pixels: int) -> RefusedError:
    """More pixels than allowed. count: None where it is unknown."""
    found = "too many pixels, " if count is None else f"{count:,} pixels, "
    return RefusedError(f"{found}more than the limit of {max_pixels:,}", remedy="raise {max_pixels}")


def check_size(size: tuple[int, ...], max_pixels: int) -> None:
    """Raise RefusedError for a (height, width) of nothing or of too much."""
    height, width = size
    if height < 1 or width < 1:
        raise RefusedError(f"has zero size ({width}x{height})")
    if height * width > max_pixels:
        raise too_many(height * width, max_pixels)

"""Contact sheets: rows of images, each with a label below it."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

GAP = 8  # pixels between images


def cell(image: Image.Image, label: str, side: int) -> Image.Image:
    """A copy of the image, at most `side` pixels wide and high, centered in that width, with its label below."""
    image = image.convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return framed(image, label, side)


def framed(image: Image.Image, label: str, width: int, font: int = 13) -> Image.Image:
    """The image, centered in a width of so many pixels, with its label below. font: the height of the label's text in pixels."""
    frame = Image.new("RGB", (width, image.height + font + 9), "white")
    left = (width - image.width) // 2
    frame.paste(image, (left, 0))
    ImageDraw.Draw(frame).text((left, image.height + 4), label, fill="black", font_size=font)
    return frame


def contact_sheet(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """The rows below one another, each as high as its highest cell, with cells aligned at the bottom."""
    side = max(image.width for cells in rows for image in cells)
    heights = [max(image.height for image in cells) for cells in rows]
    width = max(len(cells) for cells in rows) * (side + GAP) - GAP
    sheet = Image.new("RGB", (width, sum(heights) + GAP * (len(rows) - 1)), "white")
    for number, cells in enumerate(rows):
        bottom = sum(heights[: number + 1]) + GAP * number
        for x, image in enumerate(cells):
            sheet.paste(image, (x * (side + GAP), bottom - image.height))
    return sheet

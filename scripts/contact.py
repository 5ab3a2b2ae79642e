"""Contact sheets: rows of images, each with a label below it."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

GAP, LABEL = 8, 22  # pixels between images, and for a label


def cell(image: Image.Image, label: str, side: int) -> Image.Image:
    """A copy of the image, at most `side` pixels wide and high, centered in that width, with its label below."""
    image = image.convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    framed = Image.new("RGB", (side, image.height + LABEL), "white")
    left = (side - image.width) // 2
    framed.paste(image, (left, 0))
    ImageDraw.Draw(framed).text((left, image.height + 4), label, fill="black", font_size=13)
    return framed


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

"""Screenshots for the documents: JPEGs that are small enough for the repository."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

LARGEST = 150_000  # bytes of a screenshot
QUALITIES = range(90, 40, -5)  # of JPEG, the first that is small enough


def save(page: Page, target: Path) -> None:
    """Take a screenshot. target: a .jpg or a .png."""
    page.mouse.move(1, 1)
    data = page.screenshot(animations="disabled")
    if target.suffix == ".jpg":
        image = Image.open(io.BytesIO(data)).convert("RGB")
        for chosen in QUALITIES:
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=chosen, optimize=True, progressive=True)
            data = stream.getvalue()
            if len(data) < LARGEST:
                break
    target.write_bytes(data)
    print(f"{target} {len(data):,} bytes", flush=True)

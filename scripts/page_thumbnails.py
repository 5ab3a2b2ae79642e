#!/usr/bin/env python
"""Write the thumbnails of the page that `impasto page` writes: the sample photograph in every built-in style.

python scripts/page_thumbnails.py
"""

from __future__ import annotations

from impasto import stylize
from impasto.inputs import SAMPLE, style_names
from impasto.page import WEB

SIDE, MARGIN = 160, 1.5  # pixels of the square; how many times larger the painted image is, of which it is the middle

if __name__ == "__main__":
    folder = WEB / "thumbnails"
    folder.mkdir(exist_ok=True)
    for name in style_names():
        image = stylize(SAMPLE, name, size=round(SIDE * MARGIN), quality="instant", precision="fp32", device="cpu")
        left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
        target = folder / f"{name}.jpg"
        image.crop((left, max(0, top), left + SIDE, max(0, top) + SIDE)).save(target, quality=82, optimize=True)
        print(f"{target} {target.stat().st_size:,} bytes")

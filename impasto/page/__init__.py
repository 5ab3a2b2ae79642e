"""The page that paints in the browser, without a server: a folder of files that any static server, or GitHub Pages, can serve.

`runtime` gets onnxruntime-web, `styles` writes the built-in styles as browsers read them, `folder` writes the whole. The page itself is
in `web/`: no build step makes it. `web/shared/` is part of the studio's page too.

Importing this package does not load torch or NumPy.
"""

from pathlib import Path

WEB = Path(__file__).parent / "web"
SHARED = WEB / "shared"

__all__ = ["SHARED", "WEB"]

"""Pairs of a photograph and a painting, and the folders that contain an image for each pair: shared by quality.py and blind.py."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from impasto.pictures import SUFFIXES


@dataclass(frozen=True)
class Pair:
    """A photograph and a painting."""

    photo: Path
    painting: Path

    @property
    def name(self) -> str:
        """The stem of their images in every folder."""
        return f"{self.photo.stem}--{self.painting.stem}"

    def picture(self, folder: Path) -> Path | None:
        """The image of the pair in a folder, if it exists."""
        files = (folder / f"{self.name}{suffix}" for suffix in SUFFIXES)
        return next((file for file in files if file.exists()), None)


def pictures_in(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name."""
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not found:
        sys.exit(f"{folder} contains no images")
    return found


def named_folder(text: str) -> tuple[str, Path]:
    """The argument "NAME=DIR" as (name, folder)."""
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise argparse.ArgumentTypeError(f"must be NAME=DIR, not {text!r}")
    if not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{folder} is not a folder")
    return name, Path(folder)

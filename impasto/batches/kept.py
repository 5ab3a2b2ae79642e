"""What a worker keeps between items: encoders, styles that are read and analyzed, hashes of files, copies of style files."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

from impasto import files, inputs, pictures
from impasto.batches import places
from impasto.batches.sources import Source
from impasto.batches.work import Settings
from impasto.compute import memory
from impasto.errors import StyleFileError
from impasto.inputs import StyleFile, kind_of, words_of
from impasto.options import Options
from impasto.pictures import Picture
from impasto.stylizer import FIXED, Stylizer

STYLES = 4  # that are kept, decoded and analyzed; the items of a style come together
ENCODERS = 4  # that are kept
HASHES = 10_000  # of files that are remembered


class Kept:
    """What a worker has read and computed, in bounded amounts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stylizers: OrderedDict[tuple[Any, ...], Stylizer] = OrderedDict()
        self._styles: OrderedDict[tuple[str, str], Picture | StyleFile] = OrderedDict()
        self._hashes: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._limits = dict[str, int]()
        self._copies: Path | None = None

    def stylizer(self, options: Options) -> Stylizer:
        """One with these options. Encoders and styles are kept."""
        key = tuple(getattr(options, name) for name in FIXED)
        if key not in self._stylizers:
            self._stylizers[key] = Stylizer(options, weights=self.settings.weights, remember=STYLES)
            while len(self._stylizers) > ENCODERS:
                self._stylizers.popitem(last=False)
        self._stylizers.move_to_end(key)
        return self._stylizers[key].having(options)

    def limit(self, stylizer: Stylizer) -> int | None:
        """Bytes of memory for an image: the same share for every worker of what is free at first."""
        if stylizer.options.memory_limit:
            return None
        device = next(stylizer.encoder.parameters()).device
        if device.type not in self._limits:
            own = memory.RESTING if device.type == "cpu" else 0
            shared = 1 if device.type == "cuda" else self.settings.workers
            self._limits[device.type] = own + (memory.limit_of(device) - own) // shared
        return self._limits[device.type]

    def opened(self, source: Source, role: str, max_pixels: int) -> Picture | StyleFile:
        """Read the input of a role: a style is kept, anything else is read. Raises PictureError, StyleFileError."""
        if kind_of(role) in ("style", "style of mask"):
            return self.style(source, max_pixels)
        return self.picture(source, words_of(role), max_pixels)

    def picture(self, source: Source, role: str, max_pixels: int) -> Picture:
        """Read an image, from a file or an address. Raises PictureError."""
        if not places.is_address(source.place):
            return pictures.load(source.place, max_pixels=max_pixels, role=role)
        data = places.read(source.place, role)
        picture = pictures.load(data, max_pixels=max_pixels, role=f"{role} {files.printable(source.place)}")
        return replace(picture, name=Path(source.key).name)

    def style(self, source: Source, max_pixels: int) -> Picture | StyleFile:
        """A style's file or its pixels, read once while it is used."""
        place = self._file(source)
        key = (place, places.stamp(place))
        if key not in self._styles:
            named = None if places.is_address(place) else inputs.style_file(place)
            if named is not None:
                files.open_regular(named, StyleFileError, "style file").close()
                self._styles[key] = StyleFile(named, files.digest(named))
            else:
                self._styles[key] = self.picture(source, "style image", max_pixels)
            while len(self._styles) > STYLES:
                self._styles.popitem(last=False)
        self._styles.move_to_end(key)
        return self._styles[key]

    def _file(self, source: Source) -> str:
        """The place of a source; for a style file at an address that of a copy, for a built-in style that of its file."""
        if places.is_address(source.place):
            return self._copied(source) if source.kind == "style" else source.place
        if not source.kind and not files.is_file(source.place) and source.place in inputs.style_names():
            return str(inputs.built_in(source.place))
        return source.place

    def _copied(self, source: Source) -> str:
        if self._copies is None:
            self._copies = Path(tempfile.mkdtemp(prefix="impasto-styles-"))
            weakref.finalize(self, shutil.rmtree, self._copies, ignore_errors=True)
        copy = self._copies / hashlib.sha256(source.place.encode()).hexdigest()[:16] / Path(source.key).name
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(places.read(source.place, "style file"))
        return str(copy)

    def hash_of(self, source: Source, role: str) -> str:
        """SHA-256 of a file, which is read once as long as its size and its time stay."""
        place = self._file(source)
        key = (place, places.stamp(place))
        if key not in self._hashes:
            if places.is_address(place):
                self._hashes[key] = hashlib.sha256(places.read(place, role)).hexdigest()
            else:
                self._hashes[key] = files.digest(place)
            while len(self._hashes) > HASHES:
                self._hashes.popitem(last=False)
        return self._hashes[key]

"""Painting with the network's graphs, level by level: what `fast.Instant` does, in numpy."""

from __future__ import annotations

from collections.abc import Iterator

from impasto import dials
from impasto.ladder import SMALLEST, Size, level_sizes
from impasto.portable import colors, network
from impasto.portable.network import SEEN, TAPS, Floats, resized
from impasto.portable.styles import Look, Style


def paint(photo: Floats, size: Size, style: Style, strength: float, style_scale: float = 1.0) -> Iterator[Floats]:
    """Paint a photograph, 1x3xHxW in 0..1, at (height, width). Yields the result after every level, the last one at that size.

    strength, style_scale: the options of these names. Raises the errors of `network.run`.
    """
    if not strength:
        yield resized(photo, size)
        return
    photos = list[Floats]()
    for each in reversed(level_sizes(size)):
        photos.append(resized(photos[-1] if photos else photo, each))
    share, fade = dials.recolored(strength), dials.shown(strength)
    table = colors.table(photo, style.palette)
    image = colored = photos[-1]
    for level in reversed(photos):
        side = max(level.shape[2:])
        image, colored = network.run(
            "level",
            photo=level,
            table=table,
            share=share,
            below=image,
            smaller=colored,
            modulation=_modulation(style, side, side * style_scale, strength),
            fade=fade,
            **_words(style.look(max(side * style_scale / 2, SMALLEST)), SEEN),
        )
        yield network.run("finish", image=image, palette=style.palette, share=share)[0] if level is photos[0] else image


def _modulation(style: Style, side: int, longer: float, strength: float) -> Floats:
    """What the style makes of the network's filters. longer: the side in pixels at which the style is taken."""
    look = _words(style.look(longer), TAPS)
    (found,) = network.run("modulation", palette=style.palette, side=side, strength=dials.for_network(strength), **look)
    return found if style.tuning is None else found + style.tuning


def _words(look: Look, taps: tuple[str, ...]) -> dict[str, Floats]:
    """The moments by the names of a graph's inputs."""
    means = {f"{tap}_mean": look[tap].mean for tap in taps}
    return means | {f"{tap}_covariance": look[tap].covariance for tap in taps}

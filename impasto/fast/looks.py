"""What the network knows of a style: from its Gram matrices and means, or from what a style file keeps for the network.

A packed style file holds inexact Gram matrices, whose error hides directions that hardly vary. So such a file keeps the moments
themselves, and a tuned style its tuning:

| name | content |
|---|---|
| `tuning` | an addition to the modulation of every level, `Net.head.out_features` numbers |
| `RUNG/TAP/mean`, `RUNG/TAP/covariance` | K numbers; the upper triangle, row by row, K (K + 1) / 2 numbers |
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from impasto.errors import StyleFileError
from impasto.fast.moments import Moments, mixed
from impasto.fast.net import MODULATED, Net
from impasto.portable.network import KEPT, TAPS
from impasto.portable.stored import DAMAGED, checked_rungs
from impasto.styles import TUNING, Blend, Painted, Style, rungs_of

REMEMBERED = 16  # rungs of a style whose moments are kept: a batch paints many images in it
_known: WeakKeyDictionary[Style, dict[tuple[str, int], dict[str, Moments]]] = WeakKeyDictionary()


def look_of(net: Net, network: str, style: Style, longer: float) -> dict[str, Moments]:
    """The moments of a style at a longer side of `longer` pixels. network: SHA-256 of the network's file."""
    if isinstance(style, Blend):
        return mixed([(look_of(net, network, part, longer), share) for part, share in style.parts])
    return mixed([(_remembered(net, network, style, number), share) for number, share in style.rungs(longer)])


def _remembered(net: Net, network: str, style: Style, number: int) -> dict[str, Moments]:
    """The moments on rung `number`, computed once for a style and a network."""
    known = _known.setdefault(style, {})
    if (network, number) not in known:
        found = _at_rung(net, style, number, style.kept_for(network))
        while len(known) >= REMEMBERED:
            del known[next(iter(known))]
        known[network, number] = found
    return known[network, number]


def _at_rung(net: Net, style: Style, number: int, kept: Mapping[str, Tensor]) -> dict[str, Moments]:
    if not any(name != TUNING for name in kept):
        targets, means = style.at(number), style.means_at(number)
        return {tap: net.basis.of_style(tap, targets[tap], means[tap]) for tap in TAPS}
    nearest = min(
        checked_rungs({name: tuple(tensor.shape) for name, tensor in kept.items()}), key=lambda rung: abs(rung - number)
    )
    return {
        tap: Moments(kept[f"{nearest}/{tap}/mean"][None], _square(kept[f"{nearest}/{tap}/covariance"], tap)) for tap in TAPS
    }


def _square(triangle: Tensor, tap: str) -> Tensor:
    """The upper triangle as a symmetric matrix, 1xKxK."""
    count = KEPT[tap]
    rows, columns = torch.triu_indices(count, count, device=triangle.device)
    full = triangle.new_zeros(count, count)
    full[rows, columns] = full[columns, rows] = triangle
    return full[None]


def moments_to_keep(net: Net, style: Painted) -> dict[str, Tensor]:
    """What a packed style file keeps, by name."""
    found: dict[str, Tensor] = {}
    for number in rungs_of(style):
        for tap, (mean, covariance) in _at_rung(net, style, number, {}).items():
            rows, columns = torch.triu_indices(KEPT[tap], KEPT[tap])
            found[f"{number}/{tap}/mean"], found[f"{number}/{tap}/covariance"] = mean[0], covariance[0, rows, columns]
    return found


def tuning_of(network: str, style: Style) -> Tensor | None:
    """The tuning of a style, None if it has none. In a blend, the mean of the tunings, where styles without one count as 0.

    Raises StyleFileError.
    """
    if not isinstance(style, Blend):
        found = style.kept_for(network).get(TUNING)
        if found is not None and found.shape != (sum(map(sum, MODULATED)),):
            raise StyleFileError(DAMAGED)
        return found
    parts = [(tuning_of(network, part), share) for part, share in style.parts]
    tuned = [tuning * share for tuning, share in parts if tuning is not None]
    return torch.stack(tuned).sum(0) if tuned else None

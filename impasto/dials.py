"""What the option `strength` means to the network of quality "instant"."""

from __future__ import annotations

FAINT = 0.1  # strength below which the result fades into the photograph; the network was trained above it


def for_network(strength: float) -> float:
    """The strength that the network gets for the option `strength`: less in the middle, 0.34 at 0.5, and 1 at 1.

    At 0.5 it then keeps the photograph as well as other programs' fast networks do (docs/instant.md).
    """
    return strength * (0.36 + 0.64 * strength)


def recolored(strength: float) -> float:
    """How far the photograph's colors are moved to the painting's, 0..1."""
    return min(1.0, 2 * strength)


def shown(strength: float) -> float:
    """How much of the network's result shows, 0..1; the rest is the photograph in the painting's colors."""
    return min(1.0, strength / FAINT)

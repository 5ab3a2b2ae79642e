"""What is installed of the parts that impasto can do without: torch."""

from __future__ import annotations

import importlib.util
from functools import cache

from impasto.errors import UsageError

INSTALL = "install it: pip install 'impasto[paint]'"


@cache
def has_torch() -> bool:
    """Whether torch is installed. It is not loaded."""
    try:
        return importlib.util.find_spec("torch") is not None
    except ModuleNotFoundError:  # an import hook that refuses it
        return False


def needs_torch(what: str, option: str = "") -> UsageError:
    """The error for what cannot be done without torch. option: at fault."""
    return UsageError(f"{what} needs torch" if what else "needs torch", option=option, remedy=INSTALL)

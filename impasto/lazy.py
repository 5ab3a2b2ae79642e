"""Packages whose public names are loaded at first use, so that importing one does not wait for all of its modules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def exports(package: str, homes: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package (PEP 562).

    package: its `__name__`. homes: {module: the public names that it defines}. A type checker does not see these names, so the package
    imports them under TYPE_CHECKING as well.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(home[name]), name)

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home})

    return load, listed

"""Weights: find, fetch, verify, convert, keep.

`table` lists the weights: source, size, digest, license. `store` finds them on this machine, fetches and imports them. `download` gets
any file and verifies it. `formats` reads every file format in use. `canonical` checks the content and converts it to the one form
that the encoders read (`Weights`).

Importing this package loads neither torch nor h5py. Reading weights does.
"""

from impasto.weights.networks import Weights
from impasto.weights.store import Imported, fetch, find, home, import_file, load, path
from impasto.weights.table import TABLE, Entry

__all__ = ["TABLE", "Entry", "Imported", "Weights", "fetch", "find", "home", "import_file", "load", "path"]

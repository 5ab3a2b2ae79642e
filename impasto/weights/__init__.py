"""Weights: find -> fetch -> verify -> convert -> cache.

`table` says which weights there are, where from, how large, under which licence. `store` finds them on this machine. `download`
fetches what is missing into a partial file, compares size and digest, converts and caches it. `formats` reads any file people
have, and `canonical` checks it and brings it into the one form that the encoders read (`VGGWeights`).

Importing this loads neither torch nor h5py; reading weights does.
"""

from impasto.weights.download import fetch
from impasto.weights.networks import VGGWeights
from impasto.weights.store import Imported, find, home, import_file, load, path
from impasto.weights.table import TABLE, Entry

__all__ = ["TABLE", "Entry", "Imported", "VGGWeights", "fetch", "find", "home", "import_file", "load", "path"]

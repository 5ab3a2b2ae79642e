"""How the shipped weights were made. Not part of the installed package; see `python -m training.encoder --help`."""

import os

# GNU OpenMP reads this when torch loads. With its default spin count, another busy process can make training ten times slower.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

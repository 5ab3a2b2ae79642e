"""How the shipped weights were made. Not part of the installed package; `python -m training.encoder --help` says how to use it."""

import os

# read when torch loads, as the command line of impasto does: with GNU OpenMP's own spin count another busy program on the same
# cores can slow training tenfold
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

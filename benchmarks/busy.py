"""What another busy torch program costs: the demo alone and beside one, with GNU OpenMP's own spin count and with ours.

    python benchmarks/busy.py [--size 256] [--iterations 100] [--repeat 3]

"own" leaves the spin count to GNU OpenMP; 10000 is what the command line sets unless GOMP_SPINCOUNT says otherwise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOG = "import torch\na = torch.randn(1500, 1500)\nwhile True: a = (a @ a).tanh()"


# the command without `main`, which would set the spin count
START = "import sys; from impasto.cli.commands import app; app(sys.argv[1:])"


def demo(spins: str, words: list[str]) -> float:
    """Seconds the demo takes as a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if spins != "own":
        environment["GOMP_SPINCOUNT"] = spins
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", START, "demo", "-q", "-o", str(Path(folder) / "demo.png"), *words]
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True)
        return time.perf_counter() - began


def main() -> None:
    """Time the four cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="256")
    parser.add_argument("--iterations", default="100")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    words = ["--size", arguments.size, "--iterations", arguments.iterations]
    for beside in ("alone", "beside a busy program"):
        hog = None if beside == "alone" else subprocess.Popen([sys.executable, "-c", HOG])
        try:
            time.sleep(3)
            for spins in ("own", "10000") * arguments.repeat:
                print(f"{beside}, spin count {spins}: {demo(spins, words):.1f} s", flush=True)
        finally:
            if hog:
                hog.kill()
                hog.wait()


if __name__ == "__main__":
    main()

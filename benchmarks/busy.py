"""Time the demo alone and with another busy torch process, with GNU OpenMP's default spin count and with impasto's (10000).

python benchmarks/busy.py [--size 256] [--iterations 100] [--repeat 3]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUSY = "import torch\na = torch.randn(1500, 1500)\nwhile True: a = (a @ a).tanh()"
# the command without `main`, which sets the spin count
START = "import sys; from impasto.cli.commands import app; app()(sys.argv[1:])"


def demo(spins: str, words: list[str]) -> float:
    """Seconds that the demo takes in a separate process."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if spins != "default":
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
    for load in ("alone", "with a busy process"):
        busy = None if load == "alone" else subprocess.Popen([sys.executable, "-c", BUSY])
        try:
            time.sleep(3)
            for spins in ("default", "10000") * arguments.repeat:
                print(f"{load}, spin count {spins}: {demo(spins, words):.1f} s", flush=True)
        finally:
            if busy:
                busy.kill()
                busy.wait()


if __name__ == "__main__":
    main()

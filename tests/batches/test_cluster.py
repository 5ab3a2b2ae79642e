"""Ray: a real cluster of three nodes on this machine, one of which is killed under way."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from batches.folders import photos, tree, work
from command_line import LIMIT, ROOT

from impasto import batches
from impasto.batches import Result
from impasto.errors import RunError, UsageError

# In a process of its own: Ray leaves threads and sockets in a process, and its nodes inherit what the tests set.
PROGRAM = """
import sys
from ray.cluster_utils import Cluster
import impasto
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
others = [cluster.add_node(num_cpus=1) for _ in range(int(sys.argv[1]) - 1)]
found = impasto.batch("in", ["udnie", "style.png"], output="out", ray=cluster.address, size=48, iterations=8, device="cpu")
for count, result in enumerate(found, 1):
    print(result.output, result.state, result.photo, result.problem, sep="|", flush=True)
    if count == 3 and others:
        cluster.remove_node(others[0], allow_graceful=False)
cluster.shutdown()
"""

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")


@needs_ray
def test_three_nodes_of_which_one_is_killed_make_the_bytes_of_one_machine(here: Path) -> None:
    photos(here / "in", "a.png", "b.jpg", "sub/c.png", "sub/d.png", "sub/e.png")
    (here / "in" / "bad.jpg").write_bytes(b"no image")
    what = work("in", "udnie", "style.png", output="whole", quality="normal", iterations=8)
    local = [event for event in batches.run(what, workers=2) if isinstance(event, Result)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_DEDUP_LOGS": "0"}
    command = [sys.executable, "-c", PROGRAM, "3"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    said = sorted(line.split("|") for line in done.stdout.splitlines() if line.count("|") == 3)
    assert [(output, state, photo) for output, state, photo, _ in said] == sorted(
        (result.output, result.state, result.photo) for result in local
    )
    assert tree("out") == tree("whole")


@needs_ray
def test_no_cluster_is_one_clear_error(here: Path) -> None:
    with pytest.raises(RunError, match=r"^there is no Ray cluster at 127\.0\.0\.1:1 .*; start one with `ray start --head`"):
        list(batches.run(work("photo.png"), ray="127.0.0.1:1"))


def test_without_ray_the_extra_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r'^Ray is not installed; install it with `pip install "impasto\[ray\]"`$'):
        list(batches.run(work("photo.png"), ray="auto"))

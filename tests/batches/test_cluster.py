"""Ray: a real cluster of three nodes on this machine, one of which is killed, with photographs and results at addresses."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from batches.folders import Here, photos, tree, work
from command_line import LIMIT, ROOT

from impasto import batches
from impasto.batches import Result, runner
from impasto.errors import RunError, UsageError

# In a process of its own: Ray leaves threads and sockets in a process, and its nodes inherit what the tests set.
PROGRAM = """
from pathlib import Path
from ray.cluster_utils import Cluster
import impasto
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
others = [cluster.add_node(num_cpus=1) for _ in range(2)]
here = Path.cwd()
found = impasto.batch(
    f"shared://{here}/in", f"file://{here}/style.png", output=f"shared://{here}/out", ray=cluster.address, size=48, iterations=8,
    device="cpu"
)
for count, result in enumerate(found, 1):
    print(result.output, result.state, result.photo, sep="|", flush=True)
    if count == 2:
        cluster.remove_node(others.pop(), allow_graceful=False)
cluster.shutdown()
"""
# A shared folder as an address. Every process finds it as it finds s3fs and the like, by the entry point of an installed package.
SHARED = """
from fsspec.implementations.local import LocalFileSystem

class Shared(LocalFileSystem):
    protocol = "shared"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("shared://"))

    def unstrip_protocol(self, name):
        return f"shared://{self._strip_protocol(name)}"
"""

NAMES = ("bad.jpg", "a.png", "b.jpg", "sub/c.png", "sub/d.png", "sub/e.png")

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")


@needs_ray
def test_three_nodes_of_which_one_is_killed_make_the_bytes_of_one_machine_at_addresses(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(here / "in", *NAMES[1:])
    (here / "in" / NAMES[0]).write_bytes(b"no image")
    monkeypatch.setattr(runner, "_crew", lambda work, workers, ray: (Here(work.settings), 1))
    what = work("in", "style.png", output="whole", quality="normal", iterations=8)
    local = {event.output: event.state for event in batches.run(what) if isinstance(event, Result)}
    packages = tmp_path_factory.mktemp("packages")
    (packages / "shared_folder.py").write_text(SHARED)
    (packages / "shared_folder-1.dist-info").mkdir()
    (packages / "shared_folder-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shared-folder\nVersion: 1\n")
    (packages / "shared_folder-1.dist-info" / "entry_points.txt").write_text("[fsspec.specs]\nshared=shared_folder.Shared\n")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{packages}", "RAY_DEDUP_LOGS": "0"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    said = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 2]
    assert {output: state for output, state, _ in said} == local
    assert {photo for *_, photo in said} == {f"shared://{here}/in/{name}" for name in NAMES}
    assert len(said) == len(local)
    written = {name: data for name, data in tree("out").items() if ".impasto-" not in name}  # the lost node may leave a part
    assert written == tree("whole")


@needs_ray
def test_no_cluster_is_one_clear_error(here: Path) -> None:
    with pytest.raises(RunError, match=r"^there is no Ray cluster at 127\.0\.0\.1:1 .*; start one with `ray start --head`"):
        list(batches.run(work("photo.png"), ray="127.0.0.1:1"))


def test_without_ray_the_extra_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r'^Ray is not installed; install it with `pip install "impasto\[ray\]"`$'):
        list(batches.run(work("photo.png"), ray="auto"))

"""Tensors in files: they are tensors, have no names, take their bytes at once, and are never put into memory that looks like a disk."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import platformdirs
import psutil
import pytest
import torch
from torch import Tensor

from impasto.compute import mapped
from impasto.errors import SaveError

SIZE = 3 * mmap.PAGESIZE  # values: several pages, of which a chunk ends within one


def random(count: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(1))


def test_a_tensor_in_a_file_keeps_its_values_while_its_pages_are_dropped(tmp_path: Path) -> None:
    flat = mapped.empty(torch.Size((SIZE,)), torch.bfloat16, tmp_path)
    expected = random(SIZE).bfloat16()
    for to, values in zip(mapped.bands(flat, 1000), torch.split(expected, 1000), strict=True):
        to.copy_(values)
    mapped.drop(flat, 500, 1000)
    assert torch.equal(flat, expected)
    mapped.drop(flat)
    assert torch.equal(torch.cat(list(mapped.bands(flat, 777))), expected)
    maps = mapped.empty(torch.Size((1, 5, 40, 60)), torch.float32, tmp_path)
    assert maps.is_contiguous(memory_format=torch.channels_last)
    features = random(12_000).reshape(1, 5, 40, 60)
    maps.copy_(features)
    bands = list(mapped.bands(maps, 7, 2))
    assert [band.shape[2] for band in bands] == [7, 7, 7, 7, 7, 5]
    assert torch.equal(torch.cat(bands, 2), features)


def test_ordinary_tensors_have_bands_too() -> None:
    x = random(100)
    mapped.drop(x)
    assert torch.equal(torch.cat(list(mapped.bands(x, 30))), x)


def test_files_have_no_names_and_go_with_their_tensors(tmp_path: Path) -> None:
    kept = mapped.empty(torch.Size((1000,)), torch.float32, tmp_path)
    assert list(tmp_path.iterdir()) == []
    if Path("/proc/self/maps").exists():
        assert str(tmp_path) in Path("/proc/self/maps").read_text(encoding="utf-8")
        del kept
        assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_a_folder_that_takes_no_files_is_an_error_of_ours() -> None:
    with pytest.raises(SaveError, match=r"a file of 1 MB.* cannot be made in .*nowhere: no such file.*; set TMPDIR"):
        mapped.empty(torch.Size((250_000,)), torch.float32, Path(os.sep) / "nowhere")


@pytest.mark.parametrize("whole_writes", [True, False])
@pytest.mark.parametrize("system_call", [True, False])
def test_a_file_has_all_of_its_bytes_from_the_start(
    system_call: bool, whole_writes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, on a full disk, writing to the tensor ends the process by a signal. macOS and Windows have no posix_fallocate."""
    if not system_call:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        monkeypatch.setattr(mapped, "CHUNK", 300_000)
        write = os.write
        if not whole_writes:  # the system may write less than it is given
            monkeypatch.setattr(os, "write", lambda file, data: write(file, bytes(data)[: 1 + len(data) // 2]))
    elif not hasattr(os, "posix_fallocate"):
        pytest.skip("this system has no posix_fallocate")
    with (tmp_path / "x").open("wb") as file:
        mapped.reserve(file.fileno(), 1_000_001)
    status = (tmp_path / "x").stat()
    assert status.st_size == 1_000_001
    if hasattr(status, "st_blocks"):
        assert 512 * status.st_blocks >= status.st_size


# --------------------------------------------------------------------------------------------------------- scratch folder


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The system's folder for temporary files, and the user's cache, which does not exist yet."""
    temporary, cache = tmp_path / "tmp", tmp_path / "home" / "cache"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(temporary))
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, **_: cache)
    return temporary, cache


def mounted(monkeypatch: pytest.MonkeyPatch, **mounts: str) -> None:
    """Pretend that these file systems are mounted: {type: folder}."""
    parts = [SimpleNamespace(mountpoint=folder, fstype=kind) for kind, folder in mounts.items()]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: parts)


def test_files_are_made_on_a_disk(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    temporary, cache = folders
    mounted(monkeypatch, ext4="/")
    assert mapped.scratch_folder() == temporary
    assert not cache.exists()
    for kind in ("tmpfs", "ramfs"):
        mounted(monkeypatch, ext4="/", **{kind: str(temporary)})
        assert mapped.file_system(temporary / "deeper") == kind
        assert mapped.scratch_folder() == cache
        assert cache.is_dir()
    mounted(monkeypatch, tmpfs="/", ext4=str(temporary))  # the nearest mount counts: a disk mounted in memory is a disk
    assert mapped.scratch_folder() == temporary


def test_without_any_disk_the_error_says_what_to_do(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, tmpfs="/")
    with pytest.raises(SaveError, match=r"tmp is a file system in memory; set TMPDIR to a folder on a disk"):
        mapped.scratch_folder()
    assert not folders[1].exists()


def test_a_system_that_does_not_list_its_file_systems_is_trusted(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: bool) -> list[object]:
        raise OSError("no")

    monkeypatch.setattr(psutil, "disk_partitions", refuse)
    assert mapped.scratch_folder() == folders[0]

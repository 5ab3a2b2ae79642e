"""Writing the page's folder, and getting onnxruntime-web."""

from __future__ import annotations

import gzip
import hashlib
import html.parser
import json
import re
import shutil
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli
from safetensors import safe_open
from safetensors.numpy import load

import impasto
from impasto import Stylizer, files
from impasto.errors import OptionError, SaveError
from impasto.fast.looks import look_of
from impasto.fast.stored import load as network
from impasto.inputs import built_in, style_names
from impasto.page import WEB, runtime, styles

ROOT = Path(impasto.__file__).parent.parent


def listed(site: Path) -> dict[str, list[object]]:
    text = (site / "files.js").read_text(encoding="utf-8")
    found: dict[str, list[object]] = json.loads(text.removeprefix("self.IMPASTO = ").rstrip().removesuffix(";"))["files"]
    return found


def test_the_folder_is_whole(site: Path, runtime_at: Path) -> None:
    names = {file.relative_to(site).as_posix() for file in site.rglob("*") if file.is_file()}
    assert set(listed(site)) == names - {"files.js", "sw.js"}
    for name, (digest, size, _) in listed(site).items():
        data = (site / name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (digest, size)
    packed = gzip.decompress((site / "runtime" / "ort-wasm-simd-threaded.wasm.packed").read_bytes())
    assert packed == (runtime_at / "ort-wasm-simd-threaded.wasm").read_bytes()
    assert "MIT License" in (site / "licenses" / "onnxruntime.txt").read_text(encoding="utf-8")


def test_addresses_are_relative_and_the_policy_is_one() -> None:
    class Addresses(html.parser.HTMLParser):
        found: list[str]
        policy = ""

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            by_name = dict(attributes)
            self.found += [str(by_name[name]) for name in ("src", "href") if name in by_name]
            if by_name.get("http-equiv") == "Content-Security-Policy":
                self.policy = str(by_name["content"])

    page = Addresses()
    page.found = []
    page.feed((WEB / "index.html").read_text(encoding="utf-8"))
    assert page.found
    for address in page.found:
        assert not re.match(r"/|\w+:", address), address
        assert address.startswith(("#", "./")) or (WEB / address).exists() or address == "files.js", address
    assert f'"{page.policy}"' in (WEB / "sw.js").read_text(encoding="utf-8")
    assert "http" not in page.policy
    for script in WEB.rglob("*.js"):
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", script.read_text(encoding="utf-8")), script


def test_licences_are_those_of_impasto() -> None:
    for name in ("LICENSE", "NOTICE"):
        assert (WEB / "licenses" / f"{name}.txt").read_bytes() == (ROOT / name).read_bytes()


def test_styles_hold_what_the_network_needs() -> None:
    stored = network()
    found = styles.listed()
    assert sorted(found) == style_names()
    words, data = found["udnie"]
    assert words["title"] == "Udnie"
    style = Stylizer(quality="instant", device="cpu").style("udnie")
    tensors = load(data)
    with safe_open(built_in("udnie"), framework="np") as content:
        rungs = json.loads(content.metadata()["impasto style"])["rungs"]
        np.testing.assert_array_equal(tensors["tuning"], content.get_tensor("instant/tuning"))
    np.testing.assert_array_equal(tensors["quantiles"], style.quantiles().numpy())
    for row, number in enumerate(rungs):
        for tap, (mean, covariance) in look_of(stored.net, stored.digest, style, 128 * 2 ** (number / 2)).items():
            upper = np.triu_indices(mean.shape[1])
            np.testing.assert_array_equal(tensors[f"{tap}/mean"][row], mean[0].numpy().astype(np.float16))
            np.testing.assert_array_equal(tensors[f"{tap}/covariance"][row], covariance[0].numpy().astype(np.float16)[upper])


def test_a_folder_with_files_needs_overwrite_and_keeps_what_is_not_the_pages(
    cli: Cli, site: Path, runtime_at: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "site"
    shutil.copytree(site, target)
    (target / "CNAME").write_text("example.org", encoding="utf-8")
    (target / "old.js").write_text("", encoding="utf-8")
    text = (target / "files.js").read_text(encoding="utf-8")
    (target / "files.js").write_text(
        text.replace('"app.js"', '"../out.js": ["", 0, ""], "old.js": ["", 0, ""], "app.js"'), encoding="utf-8"
    )
    (tmp_path / "out.js").write_text("", encoding="utf-8")
    (target / "app.js").write_text("// another", encoding="utf-8")

    said = cli("page", "-o", target)
    assert (said.code, said.stderr.count("\n")) == (2, 1)
    assert "is not empty; use --overwrite" in said.stderr
    assert (target / "app.js").read_text(encoding="utf-8") == "// another"

    said = cli("page", "-o", target, "--overwrite", "--runtime", runtime_at, "--json")
    assert said.code == 0, said.stderr
    numbers = json.loads(said.stdout.splitlines()[-1])
    assert numbers["bytes"] == sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) - len("example.org")
    assert (target / "app.js").read_bytes() == (WEB / "app.js").read_bytes()
    assert not (target / "old.js").exists()
    assert (target / "CNAME").exists()
    assert (tmp_path / "out.js").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "--output names the folder to write"),
        (("-o", "nowhere/site"), "there is no directory nowhere"),
        (("-o", "photo.png"), "is not a folder"),
        (("-o", "site", "--runtime", "nothing"), "--runtime must be the package onnxruntime-web"),
        (("-o", "site", "--runtime", "photo.png"), "is not onnxruntime-web"),
    ],
)
def test_requests_that_are_refused(cli: Cli, here: Path, words: tuple[str, ...], problem: str) -> None:
    before = sorted(here.iterdir())
    said = cli("page", *words)
    assert (said.code, said.stdout) == (2, "")
    assert problem in said.stderr
    assert said.stderr.count("\n") == 1
    assert sorted(here.iterdir()) == before


def archive(path: Path, source: Path, **changed: bytes) -> Path:
    """The package as npm packs it, with some files changed, and one that would be written elsewhere."""
    place = path.parent / "package" / "dist"
    place.mkdir(parents=True)
    for name in runtime.FILES:
        (place / name).write_bytes(changed.get(name, (source / name).read_bytes()))
    with tarfile.open(path, "w:gz", compresslevel=1) as packed:
        for name in runtime.FILES:
            packed.add(place / name, f"package/dist/{name}")
        packed.add(place / name, "../../escaped")
    return path


def test_a_package_is_checked_whole_and_by_file(runtime_at: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "home"))
    packed = archive(tmp_path / "package.tgz", runtime_at)
    with pytest.raises(OptionError, match="is not onnxruntime-web"):
        runtime.provide(packed)  # the same files, but packed by somebody else
    unpacked = tmp_path / "package"
    assert runtime.find() is None
    assert runtime.provide(unpacked) == runtime.find() == runtime.cached()
    assert {file.name for file in runtime.cached().iterdir()} == set(runtime.FILES)

    first = next(iter(runtime.FILES))
    (runtime.cached() / first).write_bytes(b"damaged")
    assert runtime.find() is None
    (unpacked / "dist" / first).write_bytes(b"changed")
    with pytest.raises(OptionError, match=f"{first} is not that of onnxruntime-web"):
        runtime.provide(unpacked)
    assert runtime.provide(runtime_at) == runtime.cached() == runtime.find()
    assert not (tmp_path.parent / "escaped").exists()


def test_without_npm_and_with_an_npm_that_fails(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = here / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("IMPASTO_HOME", str(here / "home"))
    said = cli("page", "-o", "site", "-q")
    assert (said.code, said.stderr.count("\n")) == (1, 1)
    assert "there is no npm; install Node.js, or get onnxruntime-web" in said.stderr
    assert "--runtime" in said.stderr

    npm = programs / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error no such version' >&2\nexit 1\n", encoding="utf-8")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    said = cli("page", "-o", "site", "-q")
    assert (said.code, said.stderr.count("\n")) == (1, 1)
    assert "npm could not get onnxruntime-web 1.30.0: npm error no such version" in said.stderr

    monkeypatch.setenv("IMPASTO_OFFLINE", "1")
    assert "IMPASTO_OFFLINE forbids downloads" in cli("page", "-o", "site", "-q").stderr
    assert not (here / "site").exists()


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    files.write_folder(target, {"a/b.txt": b"1"})
    files.write_folder(target, {"c.txt": b"2"})
    assert [file.name for file in target.iterdir()] == ["c.txt"]
    with pytest.raises(SaveError, match="could not be written"):
        files.write_folder(target, {"d.txt": b"3", "d.txt/e": b"4"})
    assert (target / "c.txt").read_bytes() == b"2"
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]

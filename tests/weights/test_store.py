from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
from safetensors import safe_open
from weights.vgg_files import VGG16_FEATURES, keras_old, make_network, state_dict

from impasto import weights
from impasto.errors import MissingWeightsError, OptionError, SaveError, UnknownNameError, WeightsFileError
from impasto.weights.networks import convolution_shapes, feature_indices


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A whole VGG-16 in a Keras file, and the same as a dict."""
    network = make_network("vgg16")
    file = tmp_path_factory.mktemp("keras") / "vgg16.h5"
    keras_old(file, network)
    return file, network


def test_the_table_is_complete_and_its_embedded_file_is_the_one_it_promises():
    assert list(weights.TABLE) == ["lite", "vgg16", "vgg19"]
    for name, entry in weights.TABLE.items():
        assert entry.name == name
        assert all([entry.file, entry.license, entry.origin])
        algorithm, digest = entry.digest.split(":")
        assert len(digest) == 2 * hashlib.new(algorithm).digest_size
    lite = weights.TABLE["lite"]
    content = weights.path("lite").read_bytes()
    assert len(content) == lite.bytes
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == lite.digest
    assert weights.find("lite") == weights.path("lite")
    assert [weights.TABLE[name].title for name in weights.TABLE] == ["lite", "VGG-16", "VGG-19"]


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_the_published_files_can_hold_what_the_networks_need(name):
    parameters = sum(np.prod(shape) + shape[0] for shape in convolution_shapes(name).values())
    assert parameters == {"vgg16": 14_714_688, "vgg19": 20_024_384}[name]  # as Keras's model.summary() says
    assert 0 < weights.TABLE[name].bytes - 4 * parameters < 50_000


def test_feature_indices_are_those_of_torchvision():
    assert tuple(feature_indices("vgg16")) == VGG16_FEATURES
    assert list(feature_indices("vgg19").values()) == list(convolution_shapes("vgg19"))


def test_home_is_the_users_cache_directory_or_impasto_home(monkeypatch, tmp_path):
    monkeypatch.delenv("IMPASTO_HOME", raising=False)
    assert weights.home() == Path(platformdirs.user_cache_dir("impasto", appauthor=False))
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path))
    assert weights.path("vgg19") == tmp_path / "weights" / "vgg19.safetensors"
    monkeypatch.setenv("IMPASTO_HOME", "~/elsewhere")
    assert weights.home() == Path.home() / "elsewhere"


def test_weights_that_are_not_there(cache):
    assert weights.find("vgg19") is None
    with pytest.raises(MissingWeightsError) as caught:
        weights.load("vgg19")
    file = weights.TABLE["vgg19"].file
    assert str(caught.value) == (
        "VGG-19's weights are not on this machine; run `impasto weights fetch vgg19` to download 80 MB from "
        f"{weights.TABLE['vgg19'].url}, or download that file by other means and run `impasto weights import {file}`"
    )
    with pytest.raises(UnknownNameError, match="unknown weights 'vgg91'; did you mean 'vgg19'"):
        weights.path("vgg91")


def test_importing_a_file_makes_it_available_under_its_name(cache, whole):
    file, network = whole
    done = weights.import_file(file)
    assert (done.path, done.network, done.convention) == (cache / "weights" / "vgg16.safetensors", "vgg16", "caffe")
    assert weights.find("vgg16") == done.path
    for source in ("vgg16", done.path):
        found = weights.load(source)
        assert (found.network, found.convention, found.complete) == ("vgg16", "caffe", True)
        for layer, (kernel, bias) in network.items():
            assert np.array_equal(found.tensors[f"{layer}.weight"].numpy(), kernel)
            assert np.array_equal(found.tensors[f"{layer}.bias"].numpy(), bias)
    assert [file.name for file in done.path.parent.iterdir()] == ["vgg16.safetensors"]
    with safe_open(done.path, "np") as content:
        assert "Oxford" in content.metadata()["origin"]


def test_importing_again_replaces_what_was_there(cache, whole, tmp_path):
    weights.import_file(whole[0], name="vgg16")
    torch.save(state_dict(whole[1], VGG16_FEATURES), tmp_path / "vgg16-397923af.pth")
    done = weights.import_file(tmp_path / "vgg16-397923af.pth")
    assert done.convention == "torchvision"
    found = weights.load("vgg16")
    assert found.convention == "torchvision"
    direct = weights.load(tmp_path / "vgg16-397923af.pth")
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in direct.tensors.items())
    assert [file.name for file in done.path.parent.iterdir()] == ["vgg16.safetensors"]
    with safe_open(done.path, "np") as content:
        assert "origin" not in content.metadata()  # not Oxford's


def test_a_network_that_ends_early_is_not_imported(cache, tmp_path):
    keras_old(tmp_path / "a.h5", make_network("vgg19", "4_1"))
    with pytest.raises(WeightsFileError, match=r"a\.h5: ends at conv4_1; expected the whole of VGG-19"):
        weights.import_file(tmp_path / "a.h5")
    assert not cache.exists()


def test_what_cannot_be_imported(cache, whole):
    with pytest.raises(WeightsFileError, match="holds VGG-16, expected VGG-19"):
        weights.import_file(whole[0], name="vgg19")
    with pytest.raises(OptionError, match="lite comes with impasto"):
        weights.import_file(whole[0], name="lite")
    with pytest.raises(UnknownNameError, match="'vgg17'"):
        weights.import_file(whole[0], name="vgg17")
    with pytest.raises(WeightsFileError, match="holds lite, which comes with impasto"):
        weights.import_file(weights.path("lite"))
    assert not cache.exists()


def test_a_home_that_cannot_be_written(tmp_path, monkeypatch, whole):
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "file"))
    with pytest.raises(SaveError, match=r"cannot write in .*: not a directory"):
        weights.import_file(whole[0])


def test_a_full_disk_leaves_nothing_behind(cache, whole):
    # A limit on the size of files makes a write fail in its middle, as a full disk does.
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(SaveError, match=r"vgg16\.safetensors could not be written: file too large"):
            weights.import_file(whole[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((cache / "weights").iterdir()) == []


def test_weights_in_the_cache_that_are_damaged(cache, whole):
    done = weights.import_file(whole[0])
    os.truncate(done.path, 1_000_000)
    with pytest.raises(WeightsFileError, match=r"vgg16\.safetensors: is cut short or damaged"):
        weights.load("vgg16")


def test_the_import_loads_nothing_heavy():
    code = "import sys, impasto.weights; print([name for name in ('torch', 'h5py', 'scipy', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

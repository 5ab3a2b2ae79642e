from __future__ import annotations

import dataclasses
import hashlib
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
from weights.vgg_files import hwio, keras_name, make_network

from impasto import weights
from impasto.errors import DownloadError, MissingWeightsError, SaveError, UnknownNameError


class Server(http.server.ThreadingHTTPServer):
    """Serves one file at every address, with the faults that its attributes set."""

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.requests = []  # the Range header of every request
        self.ranges = True  # whether it honors them
        self.status = None  # an error to answer with
        self.stop_after = None  # bytes after which it closes the connection
        self.sends_length = True
        self.before_body = lambda: None
        self.shift = 0  # distance from the start of the requested range to the start of its answer

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # some tests close the connection early
            super().handle_error(request, client_address)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/file.h5"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) + server.shift if wanted and server.ranges else 0
        if server.status or (wanted and start >= len(server.content)):
            self.send_error(server.status or 416)
            return
        self.send_response(206 if wanted and server.ranges else 200)
        if wanted and server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.sends_length:
            self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        server.before_body()
        self.wfile.write(server.content[start : server.stop_after])


@pytest.fixture(scope="session")
def network():
    """A whole VGG-16, mostly zeros."""
    made = make_network("vgg16")
    for kernel, _ in made.values():
        kernel[:, 1:] = 0
    return made


@pytest.fixture(scope="session")
def content(network, tmp_path_factory):
    """The network as a Keras file; HDF5 compresses the zeros, so it is small."""
    file = tmp_path_factory.mktemp("served") / "file.h5"
    with h5py.File(file, "w") as hdf5:
        for layer, (kernel, bias) in network.items():
            name = keras_name(layer)
            kernel = kernel[:, ::-1] if layer == "conv1_1" else kernel
            hdf5.create_dataset(f"{name}/{name}_W_1:0", data=hwio(kernel), compression="gzip", compression_opts=1)
            hdf5[f"{name}/{name}_b_1:0"] = bias
    return file.read_bytes()


@pytest.fixture
def server(content, cache, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server(content)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def entry(server, content):
    return dataclasses.replace(
        weights.TABLE["vgg16"], url=server.url, digest=f"md5:{hashlib.md5(content).hexdigest()}", bytes=len(content)
    )


@pytest.fixture
def part(cache, entry):
    (cache / "weights").mkdir(parents=True)
    return cache / "weights" / f"{entry.file}.part"


def left(cache):
    return {file.name for file in (cache / "weights").iterdir()}


def assert_good(file, cache, network):
    assert file == cache / "weights" / "vgg16.safetensors"
    assert left(cache) == {"vgg16.safetensors"}
    found = weights.load("vgg16")
    for layer, (kernel, bias) in network.items():
        assert np.array_equal(found.tensors[f"{layer}.weight"].numpy(), kernel)
        assert np.array_equal(found.tensors[f"{layer}.bias"].numpy(), bias)


def failure(entry, **options):
    with pytest.raises(DownloadError) as caught:
        weights.fetch(entry, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"could not download {options.get('url', entry.url)}: ")
    assert message.endswith(f"run `impasto weights import {entry.file}`")
    return message


def test_a_download_is_verified_converted_and_kept(server, entry, cache, network):
    seen = []
    file = weights.fetch(entry, progress=lambda done, total: seen.append((done, total)))
    assert_good(file, cache, network)
    assert seen[0] == (0, entry.bytes)
    assert seen[-1] == (entry.bytes, entry.bytes)
    assert seen == sorted(seen)
    assert weights.fetch(entry) == file
    assert server.requests == [None]


def test_an_interrupted_download_is_resumed(server, entry, cache, part, content, network):
    server.stop_after = 100_000
    assert f"the connection broke after 100000 of {entry.bytes} bytes; try again" in failure(entry)
    assert part.read_bytes() == content[:100_000]
    server.stop_after = 150_000
    failure(entry)
    assert part.read_bytes() == content[:150_000]
    server.stop_after = None
    seen = []
    assert_good(weights.fetch(entry, progress=lambda done, _: seen.append(done)), cache, network)
    assert server.requests == [None, "bytes=100000-", "bytes=150000-"]
    assert seen[0] == 150_000


def test_a_server_that_ignores_ranges_sends_it_all(server, entry, cache, part, network):
    part.write_bytes(b"x" * 50_000)
    server.ranges = False
    assert_good(weights.fetch(entry), cache, network)
    assert server.requests == ["bytes=50000-"]


def test_a_server_that_refuses_the_range_does_not_cost_the_partial_file(server, entry, cache, part, content, network):
    part.write_bytes(content[:2000])
    server.content = content[:1000]
    assert "the server answered 416" in failure(entry)
    server.ranges = False
    assert f"the server offers 1000 bytes, expected {entry.bytes}" in failure(entry)
    server.ranges, server.shift, server.content = True, 500, content
    assert "does not send the part that was requested, which starts at byte 2000" in failure(entry)
    assert part.read_bytes() == content[:2000]
    server.shift = 0
    assert_good(weights.fetch(entry), cache, network)


@pytest.mark.parametrize(("more", "requests"), [(b"", []), (b"more", [None])])
def test_a_complete_partial_file_is_not_requested_again_but_a_longer_one_is(
    more, requests, server, entry, cache, part, content, network
):
    part.write_bytes(content + more)
    assert_good(weights.fetch(entry), cache, network)
    assert server.requests == requests


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_wrong_bytes_are_not_kept(algorithm, server, entry, cache, part, content):
    entry = dataclasses.replace(entry, digest=f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")
    server.content = content[:-1] + bytes([content[-1] ^ 1])
    found = hashlib.new(algorithm, server.content).hexdigest()
    assert f"the content is wrong: expected {entry.digest}, found {algorithm}:{found}" in failure(entry)
    assert left(cache) == set()
    part.write_bytes(b"x" * 1000)
    server.content = content
    assert "the content is wrong" in failure(entry)
    assert left(cache) == set()


@pytest.mark.parametrize("sends_length", [True, False])
def test_a_file_that_is_too_long_is_not_kept(sends_length, server, entry, cache, content):
    server.content = content * 2
    server.sends_length = sends_length
    expected = f"offers {2 * len(content)} bytes, expected {len(content)}" if sends_length else "sends more than"
    assert expected in failure(entry)
    assert left(cache) == set()


def test_failures_of_server_and_connection_are_named(server, entry, cache):
    server.status = 404
    assert "the server answered 404 Not Found" in failure(entry)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # nobody listens
        assert "connection refused" in failure(entry, url=f"http://127.0.0.1:{silent.getsockname()[1]}/file.h5")
    assert "neither http nor https" in failure(entry, url="file:///etc/passwd")
    assert "neither http nor https" in failure(entry, url="vgg16.h5")
    assert left(cache) == set()


def test_a_server_that_sends_nothing_is_given_up(server, entry, cache):
    given_up = threading.Event()
    server.before_body = given_up.wait
    try:
        assert "no answer for 0.2 s" in failure(entry, timeout=0.2)
    finally:
        given_up.set()


def test_another_address_and_another_digest(server, entry, content):
    entry = dataclasses.replace(entry, url="http://127.0.0.1:9/gone", digest=f"sha256:{hashlib.sha256(content).hexdigest()}")
    assert weights.fetch(entry, url=server.url).is_file()


def test_offline_nothing_is_requested(server, entry, cache, monkeypatch):
    monkeypatch.setenv("IMPASTO_OFFLINE", "1")
    with pytest.raises(
        MissingWeightsError, match="not on this machine; IMPASTO_OFFLINE forbids downloads: unset it to download"
    ):
        weights.fetch(entry)
    assert server.requests == []
    monkeypatch.setenv("IMPASTO_OFFLINE", "0")
    server.status = 404
    failure(entry)
    assert server.requests == [None]


def test_weights_that_are_here_need_no_download(cache):
    assert weights.fetch("lite") == weights.path("lite")
    with pytest.raises(UnknownNameError, match="unknown weights 'vgg61'"):
        weights.fetch("vgg61")


def test_a_full_disk_is_named_and_the_partial_file_kept(server, entry, cache, part, content):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    try:
        with pytest.raises(SaveError, match=r"cannot write .*\.part: file too large"):
            weights.fetch(entry)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert part.read_bytes() == content[: part.stat().st_size]
    assert left(cache) == {part.name}


def test_a_download_that_another_process_finishes_first(server, entry, cache, network):
    nested = []

    def finish_in_another(done, total):
        if 0 < done < total and not nested:
            nested.append(weights.fetch(entry))

    assert_good(weights.fetch(entry, progress=finish_in_another), cache, network)
    assert nested == [weights.path("vgg16")]
    assert server.requests[0] is None
    assert server.requests[1].startswith("bytes=")  # it went on with the partial file of the first


FETCH = """
import json, sys
from impasto import weights
print(weights.fetch(weights.Entry(**json.loads(sys.argv[1]))))
"""


def test_two_processes_that_download_at_once_both_succeed(server, entry, cache, network):
    both_have_asked = threading.Barrier(2, timeout=60)
    server.before_body = both_have_asked.wait
    command = [sys.executable, "-c", FETCH, json.dumps(dataclasses.asdict(entry))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as other:
        here, there = weights.fetch(entry), other.communicate(timeout=60)[0].strip()
    assert other.returncode == 0
    assert str(here) == there == str(cache / "weights" / "vgg16.safetensors")
    assert server.requests == [None, None]
    assert_good(weights.path("vgg16"), cache, network)

"""The cache of decoded images: used, made anew, and never trusted when it is damaged."""

import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_files import by_lot, noise, one_line, write

from ddim_edu.data import cache as cache_module
from ddim_edu.data import folder as folder_module
from ddim_edu.data.cache import default_cache_dir
from ddim_edu.data.named import digits
from ddim_edu.data.registry import load_data

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that have been decoded."""
    names, decode = [], folder_module._Decoded._decode
    monkeypatch.setattr(
        folder_module._Decoded, "_decode", lambda self, file: names.append(file.name) or decode(self, file)
    )
    return names


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip((one.train, one.heldout), (other.train, other.heldout)))


def test_images_are_decoded_once(tmp_path, decoded, cache):
    for i in range(5):
        write(tmp_path / f"{i}.png", i)
    first = load_data(tmp_path, size=8)
    assert sorted(decoded) == [f"{i}.png" for i in range(5)]
    assert same(load_data(tmp_path, size=8), first) and len(decoded) == 5
    load_data(tmp_path, size=4)
    load_data(tmp_path, size=8, channels=1)
    assert len(decoded) == 15
    assert same(load_data(tmp_path, size=8), first) and len(decoded) == 15  # each has a file of its own
    assert len(list(cache.glob("*.pixels"))) == 3 and not [p for p in cache.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("how", ["content", "time", "name", "more", "less"])
def test_a_changed_folder_is_decoded_again(tmp_path, decoded, cache, how):
    for i in range(5):
        write(tmp_path / f"{i}.png", i)
    load_data(tmp_path, size=8)
    if how == "content":
        write(tmp_path / "3.png", 99, height=9)
    elif how == "time":  # the same size, but written later
        os.utime(tmp_path / "3.png", (time.time() + 10,) * 2)
    elif how == "name":
        (tmp_path / "3.png").rename(tmp_path / "9.png")
    elif how == "more":
        write(tmp_path / "9.png", 9)
    else:
        (tmp_path / "3.png").unlink()
    decoded.clear()
    data = load_data(tmp_path, size=8)
    assert len(decoded) == len(data.train) + len(data.heldout) == {"more": 6, "less": 4}.get(how, 5)
    assert len(list(cache.glob("*.pixels"))) == 1  # over the old one


def test_another_format_of_the_cache_is_not_trusted(tmp_path, decoded, monkeypatch):
    for i in range(3):
        write(tmp_path / f"{i}.png", i)
    load_data(tmp_path, size=8)
    monkeypatch.setattr(folder_module, "FORMAT", 10**6)
    load_data(tmp_path, size=8)
    assert len(decoded) == 6


@pytest.mark.parametrize("in_memory", [2**30, 0])
@pytest.mark.parametrize("how", ["short", "long", "bit", "json", "list", "number", "no json", "no pixels"])
def test_a_damaged_cache_is_not_trusted(tmp_path, decoded, cache, capsys, monkeypatch, how, in_memory):
    monkeypatch.setattr(cache_module, "IN_MEMORY", in_memory)
    for i in range(5):
        write(tmp_path / f"{i}.png", i)
    first = load_data(tmp_path, size=8)
    expected = first.train.clone()
    [pixels], [about] = cache.glob("*.pixels"), cache.glob("*.json")
    content = pixels.read_bytes()
    del first
    if how in ("short", "long"):
        pixels.write_bytes(content[:-1] if how == "short" else content + b"x")
    elif how == "bit":
        pixels.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    elif how == "json":
        about.write_text(about.read_text()[:50])
    elif how in ("list", "number"):
        about.write_text({"list": "[1]", "number": about.read_text().replace('"bad": []', '"bad": 3')}[how])
    else:
        (about if how == "no json" else pixels).unlink()
    data = load_data(tmp_path, size=8)
    assert len(decoded) == 10 and torch.equal(data.train, expected) and pixels.read_bytes() == content
    assert ("damaged" in capsys.readouterr().err) == (not how.startswith("no"))
    load_data(tmp_path, size=8)
    assert len(decoded) == 10


def test_interrupted_decoding_leaves_nothing(tmp_path, cache, monkeypatch):
    for i in range(5):
        write(tmp_path / f"{i}.png", i)

    def decode(self, file):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(folder_module._Decoded, "_decode", decode)
        load_data(tmp_path, size=8)
    assert list(cache.iterdir()) == []
    assert len(load_data(tmp_path, size=8).train) == 4


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("when", ["decoding", "between the two files"])
def test_killed_decoding_leaves_nothing_that_is_trusted(tmp_path, cache, decoded, when):
    for i in range(5):
        write(tmp_path / f"{i}.png", i)
    code = """
import os, signal, sys
from ddim_edu.data import cache, folder
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "decoding":
    decode = folder._Decoded._decode
    folder._Decoded._decode = lambda self, file: die() if file.name == "3.png" else decode(self, file)
else:
    dumps = cache.json.dumps
    cache.json.dumps = lambda value: die() if "crc32" in value else dumps(value)
folder.read_folder(sys.argv[1], size=8)
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path), when], capture_output=True, text=True)
    assert run.returncode == -9, run.stderr
    left = sorted(cache.iterdir())
    if when == "decoding":
        assert [p.suffix for p in left] == [".pixels"] and left[0].name.startswith(".")
    else:
        assert [p.suffix for p in left] == [".json", ".pixels"] and left[0].name.startswith(".")
    data = load_data(tmp_path, size=8)
    [held] = by_lot([f"{i}.png" for i in range(5)], 1)
    assert len(decoded) == 5 and np.array_equal(data.train[3], noise(4 - (held == 4)).transpose(2, 0, 1))
    assert left[0].exists()  # another process may be writing it
    os.utime(left[0], (time.time() - 100_000,) * 2)
    write(tmp_path / "9.png")
    load_data(tmp_path, size=8)
    assert not left[0].exists()


def test_a_cache_that_can_not_be_written(tmp_path, monkeypatch, cache):
    for i in range(3):
        write(tmp_path / f"{i}.png", i)
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="can't write the cache folder.*DDIM_EDU_CACHE") as error:
            load_data(tmp_path, size=8, cache_dir=place)
        one_line(error)
    usage = shutil.disk_usage(cache)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda place: usage._replace(free=500))
    with pytest.raises(ValueError, match="need 0.0 GB .*DDIM_EDU_CACHE"):
        load_data(tmp_path, size=8)


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("DDIM_EDU_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("DDIM_EDU_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "ddim_edu"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert default_cache_dir() == tmp_path / ".cache" / "ddim_edu"


def test_a_large_set_is_mapped(tmp_path, monkeypatch):
    for i in range(6):
        write(tmp_path / f"{i}.png", i)
    small = load_data(tmp_path, size=8)
    monkeypatch.setattr(cache_module, "IN_MEMORY", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = load_data(tmp_path, size=8)
        assert isinstance(folder_module.read_folder(tmp_path, size=8).pixels, np.memmap)
        assert same(mapped, small)
        indices = torch.tensor([4, 0, 0, 2])
        batch = mapped.batch(indices, "cpu")
    assert (
        batch.dtype == torch.uint8
        and torch.equal(batch, small.train[indices])
        and torch.equal(small.batch(indices), batch)
    )
    batch.zero_()  # a batch is the caller's own
    assert same(mapped, small)


def test_data_move_to_a_device_only_if_they_fit(tmp_path):
    data = digits()  # 1,797 images of 64 bytes
    moved = data.to("meta", limit=1797 * 64)
    assert moved.train.is_meta and moved.heldout_labels.is_meta and moved.classes == data.classes and moved.top == 16
    assert data.to("meta", limit=1797 * 64 - 1) is data
    assert data.to("meta").train.is_meta and not data.to("cpu").train.is_meta
    assert data.batch(torch.tensor([1, 2]), "meta").shape == (2, 1, 8, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_a_cuda_device():
    data, indices = digits(), torch.tensor([5, 3, 3])
    expected = data.train[indices]
    for place in (data, data.to("cuda")):
        for i in (indices, indices.cuda()):
            batch = place.batch(i, "cuda")
            assert batch.is_cuda and torch.equal(batch.cpu(), expected)

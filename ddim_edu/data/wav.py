"""Wav files of strangers: read within bounds, whatever their headers say.

A wav file is a row of chunks, each with a name of four letters and a length: ``fmt `` says how the sound is coded,
``data`` holds it, others are passed over. Sizes are taken from the headers and compared with what is there and with
``MOST_SECONDS`` and ``MOST_SAMPLES`` before a sample is read.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

RATES = (1000, 768_000)  # the least and the highest number of samples a second that any recorder makes
MOST_SECONDS = 600
MOST_SAMPLES = 2**25  # of all channels together: six minutes of stereo at 44,100 a second
MOST_BYTES = 8 * MOST_SAMPLES + 2**20  # of a file that may hold them
_MOST_CHUNKS = 1000
_UNFINISHED = 0x7FFF0000  # lengths from here on are written by programs that don't know when a recording will end
_SLACK = 64  # bytes that may be missing: some programs count their headers in
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID = (0, 0x10, bytes.fromhex("800000aa00389b71"))  # what follows the number of a coding in an extensible header
_CODINGS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 49: "GSM", 80: "MPEG", 85: "MP3"}


class NotWav(ValueError):
    """Why a file can't be read as wav; without its name."""


class _Form(NamedTuple):
    rate: int
    channels: int
    dtype: np.dtype  # "V3" for 24 bits
    step: int  # bytes of all channels at one moment
    order: Literal["<", ">"]  # of bytes: "<" or ">"


def read_samples(source: Path | str | BinaryIO) -> tuple[int, np.ndarray]:
    """The rate and the samples of a wav file.

    8 to 32 bits of whole numbers, 32 or 64 of floats, the extensible form, either order of bytes, any number of
    channels.

    Args:
        source: A regular file, or an open one that can be positioned.

    Returns:
        Samples a second, and ``(L, channels)`` float64; whole numbers are brought to [-1, 1].

    Raises:
        ValueError: In a few words, if it can't be read, or is longer than the bounds.
        FileNotFoundError: If there is no such file.
        OSError: If it can't be read.
    """
    if isinstance(source, str | Path):
        if not stat.S_ISREG(os.stat(source).st_mode):  # opening a pipe waits for ever, a device has no end
            raise NotWav("a folder" if os.path.isdir(source) else "not a regular file")
        opened: AbstractContextManager[BinaryIO] = open(source, "rb")
    else:
        opened = nullcontext(source)
    with opened as file:
        try:
            form, n = _find_sound(file)
            raw = file.read(n * form.step)
        except struct.error:
            raise NotWav("it ends within a header") from None
    if len(raw) < n * form.step:
        raise NotWav("it is cut short")
    return form.rate, _numbers(raw, form).reshape(n, form.channels)


def _find_sound(file: BinaryIO) -> tuple[_Form, int]:
    """How the sound is coded, and at how many moments it was sampled; the file then stands at the first of them."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:12] != b"WAVE":
        raise NotWav("it does not begin like one" if head else "it is empty")
    order: Literal["<", ">"] = ">" if head[:4] == b"RIFX" else "<"
    (whole,) = struct.unpack(f"{order}I", head[4:8])
    form = None
    for _ in range(_MOST_CHUNKS):
        chunk = file.read(8)
        if len(chunk) < 8:
            break
        name, size = struct.unpack(f"{order}4sI", chunk)
        start = file.tell()
        if name == b"fmt ":
            form = _form(file.read(min(size, 40)), order)
        elif name == b"data":
            if form is None:
                raise NotWav("its sound comes before what says how it is coded")
            if size >= _UNFINISHED or whole in (0, 0xFFFFFFFF):
                size = end - start
            if size > end - start + _SLACK:
                raise NotWav(f"it is cut short: {size:,} bytes of sound are promised, and {end - start:,} are there")
            n = min(size, end - start) // form.step
            if n > MOST_SECONDS * form.rate or n * form.channels > MOST_SAMPLES:
                raise NotWav(
                    f"it holds {n / form.rate / 60:,.1f} minutes of {form.channels} channels, more than is read: "
                    "cut out the second that is meant"
                )
            return form, n
        file.seek(start + size)
        if size % 2 and file.read(1) not in (b"", b"\0"):  # a chunk of odd length is padded by a zero, or should be
            file.seek(start + size)
    raise NotWav("it holds no chunk of sound")


def _form(header: bytes, order: Literal["<", ">"]) -> _Form:
    """What the chunk ``fmt `` says."""
    coding, channels, rate, _, step, bits = struct.unpack(f"{order}HHIIHH", header[:16])
    if coding == _EXTENSIBLE:
        coding, *rest = struct.unpack(f"{order}IHH8s", header[24:40])
        if tuple(rest) != _GUID:
            raise NotWav("its coding is none that is known: convert it to plain PCM")
    if coding not in (_PCM, _FLOAT):
        raise NotWav(f"its sound is coded as {_CODINGS.get(coding, f'number {coding}')}: convert it to plain PCM")
    width = step // channels if channels else 0
    known = {_PCM: ("u1", "i2", "V3", "i4"), _FLOAT: ("f4", "f8")}[coding]
    dtype = {np.dtype(d).itemsize: np.dtype(d).newbyteorder(order) for d in known}.get(width)
    if dtype is None or step != width * channels or not 0 < bits <= 8 * width:
        raise NotWav(f"{bits} bits in {step} bytes for {channels} channels is no form of samples that is known")
    if not RATES[0] <= rate <= RATES[1]:
        raise NotWav(f"{rate:,} samples a second: no recording has fewer than {RATES[0]:,} or more than {RATES[1]:,}")
    return _Form(rate, channels, dtype, step, order)


def _numbers(raw: bytes, form: _Form) -> np.ndarray:
    """Samples as float64, whole numbers in [-1, 1]."""
    if form.dtype.kind == "V":  # three bytes become the upper three of four
        parts = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        padded = np.zeros((len(parts), 4), np.uint8)
        padded[:, 1:] = parts if form.order == "<" else parts[:, ::-1]
        return padded.view("<i4")[:, 0] / 2.0**31
    samples = np.frombuffer(raw, form.dtype).astype(np.float64)
    if form.dtype.kind == "f":
        return samples
    half = 2.0 ** (8 * form.dtype.itemsize - 1)
    return samples / half - (form.dtype.kind == "u")  # 8 bits count from 0

"""Sounds, for the tests of what reads them."""

import numpy as np
import torch
from scipy.io import wavfile

from ddim_edu.data.spectrograms import RATE

CLASSES = ("no ann", "no bob", "yes ann", "yes bob")


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def tone(hertz, seconds=0.5, rate=RATE):
    return torch.sin(2 * torch.pi * hertz * torch.arange(int(seconds * rate), dtype=torch.float64) / rate)


def wav(path, samples, rate=RATE):
    wavfile.write(path, rate, np.asarray(samples))
    return path


def burst(path, seed, seconds=0.3, rate=8000, silent=False):
    rng = np.random.default_rng(seed)
    samples = 0 * rng.normal(size=int(seconds * rate)) if silent else rng.normal(size=int(seconds * rate)) * 3000
    wavfile.write(path, rate, samples.clip(-32768, 32767).astype(np.int16))

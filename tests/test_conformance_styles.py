"""What is right raises no alarm, in whatever style it is written."""

import math

import numpy as np
import pytest
import torch
from conformance_cases import BETA, down, full, rising, whole

from ddim_edu.conformance import check


def by_hand(eps, noise, x, a, b, eta_squared):
    variance = eta_squared * (1 - b) / (1 - a) * (1 - a / b)
    k = np.sqrt(b / a)
    return k * x + (np.sqrt(max(1 - b - variance, 0)) - k * np.sqrt(1 - a)) * eps + np.sqrt(variance) * noise


def from_zero(net, x, S, eta, abar):
    kept = abar[1:].tolist()
    levels = [int(len(kept) - 1 - i * len(kept) // S) for i in range(S)]
    for t, s in zip(levels, [*levels[1:], -1]):
        x = down(
            x, net(x, torch.tensor([t + 1] * len(x))), kept[t], kept[s] if s >= 0 else 1.0, eta, torch.randn(x.shape)
        )
    return x


def in_place(net, x, S, eta, abar):
    T = len(abar) - 1
    for i in range(S, 0, -1):
        t, s = T * i // S, T * (i - 1) // S
        eps, a, b = net(x, full(x, t)), abar[t], abar[s]
        sigma = eta * torch.sqrt((1 - b) / (1 - a) * (1 - a / b))
        x.sub_(eps * (1 - a).sqrt()).div_(a.sqrt()).mul_(b.sqrt()).add_(eps * (1 - b - sigma**2).clamp_min(0).sqrt())
        if s:
            x.add_(torch.empty_like(x).normal_() * sigma)
    return x


def noise_at_once(net, x, S, eta, abar):
    levels, z = whole(len(abar) - 1, S), torch.randn(S, *x.shape, dtype=x.dtype)
    for i, (t, s) in enumerate(zip(levels, levels[1:])):
        x = down(x, net(x, full(x, t)), abar[t], abar[s], eta, z[i])
    return x


def in_log_snr(net, x, S, eta, abar):
    """Shares of the variance at s, from the log-SNR."""
    half, levels = 0.5 * (abar.log() - (1 - abar).log()), whole(len(abar) - 1, S)
    for t, s in zip(levels, levels[1:]):
        k, fall = (abar[s] / abar[t]).sqrt(), torch.exp(2 * (half[t] - half[s])) if s else 0.0
        fresh = eta**2 * (1 - fall)
        new = (1 - abar[s]).sqrt() * (
            (1 - fresh) ** 0.5 * (eps := net(x, full(x, t))) + fresh**0.5 * torch.randn_like(x)
        )
        x = k * (x - (1 - abar[t]).sqrt() * eps) + new
    return x


def in_the_clock(net, x, S, abar):
    a = np.asarray(abar)
    clock, levels, x = np.sqrt(1 / a - 1), rising(len(a) - 1, S), np.asarray(x)
    for t, s in zip(levels, levels[1:]):
        state = torch.from_numpy(np.sqrt(a[t]) * x)
        x = x + (clock[s] - clock[t]) * np.asarray(net(state, full(state, max(t, 1))))
    return np.sqrt(a[-1]) * x


def guided(calls):
    """With and without a label, one after another or in one batch, and nothing between the two."""

    def sample(net, x, S, eta, abar):
        def eps_of(x, t):
            if calls == 2:
                one, two = net(x, full(x, t)), net(x, full(x, t))
            else:
                one, two = net(torch.cat([x, x]), full(torch.cat([x, x]), t)).chunk(2)
            return one + 7.5 * (two - one)

        levels = whole(len(abar) - 1, S)
        for t, s in zip(levels, levels[1:]):
            x = down(x, eps_of(x, t), abar[t], abar[s], eta, torch.randn_like(x))
        return x

    return sample


STYLES = {
    "numpy, other arguments": (
        "step",
        lambda x, e, t, s, eta, z, a: by_hand(
            np.asarray(e), np.asarray(z), np.asarray(x), float(a[t]), float(a[s]), eta**2
        ),
    ),
    "levels from 0": ("sampler", from_zero),
    "in place": ("sampler", in_place),
    "noise at once": ("sampler", noise_at_once),
    "log-SNR": ("sampler", in_log_snr),
    "clock, numpy": ("invert", in_the_clock),
    "sum of logs": ("schedule", lambda T: [1.0, *np.exp(np.cumsum(np.log1p(-np.linspace(*BETA, T))))]),
    "a set": ("tau", lambda T, S: sorted({math.ceil(i * T / S) for i in range(1, S + 1)})),
}


@pytest.mark.parametrize("name", STYLES)
def test_an_unusual_style_raises_no_alarm(name):
    kind, function = STYLES[name]
    verdict = check(function, kind)
    assert verdict.verdict == "right", verdict.text()


@pytest.mark.parametrize("calls", [1, 2])
def test_two_calls_in_a_step_are_a_convention(calls):
    verdict = check(guided(calls), "sampler")
    assert verdict.verdict == "convention" and verdict.mistake == "form-of-levels", verdict.text()
    assert "2 times" in verdict.explanation

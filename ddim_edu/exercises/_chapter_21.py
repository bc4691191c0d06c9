"""Chapter 21, music."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise


@exercise("ex-music-difference", "derive", stars=1, minutes=15, skill="statistics")
def difference(answer: Any) -> None:
    """A sine minus itself later is a sine again, largest half a period later and 0 after a whole one."""

    def truth(a: Tensor, f: Tensor, r: Tensor, tau: Tensor) -> Tensor:
        return a**2 * (1 - torch.cos(2 * math.pi * f * tau / r))

    agree(
        answer,
        "d(a, f, r, tau)",
        truth,
        [(1.0, 220.0, 16000.0, 20.0), (0.3, 440.0, 8000.0, 7.0), (2.0, 131.0, 16000.0, 61.0)],
        "A sine minus the same sine some time later: of which amplitude is that? And the mean square of a sine?",
        (
            lambda a, f, r, tau: 2 * truth(a, f, r, tau),
            "The mean of the square of a sine is not its amplitude squared.",
        ),
        (
            lambda a, f, r, tau: a * (1 - torch.cos(2 * math.pi * f * tau / r)),
            "A sine twice as large differs from itself by twice as much. And the squares of the differences?",
        ),
        (
            lambda a, f, r, tau: a**2 * torch.cos(2 * math.pi * f * tau / r),
            "At lag 0 a sound equals itself. What is the difference there?",
        ),
        (
            lambda a, f, r, tau: a**2 * (1 - torch.cos(math.pi * f * tau / r)),
            "It has to be 0 again after one period of r/f samples, and this is 0 after two.",
        ),
        (
            lambda a, f, r, tau: a**2 * (1 - torch.cos(2 * math.pi * f * tau)),
            "tau counts samples, not seconds.",
        ),
    )


@exercise("ex-music-string", "derive", stars=2, minutes=20, skill="variances")
def string(answer: Any) -> None:
    """High partials die first, and high strings die sooner: by the cube of their length."""

    def truth(k: Tensor, N: Tensor, r: Tensor, s: Tensor) -> Tensor:
        return torch.cos(math.pi * k / (N + 0.5)) ** (s * r / (N + 0.5))

    agree(
        answer,
        "left(k, N, r, s)",
        truth,
        [(1.0, 72.0, 16000.0, 0.5), (4.0, 100.0, 16000.0, 0.1), (2.0, 30.0, 8000.0, 0.05)],
        "What is left after one period, and how many periods are there in s seconds?",
        (
            lambda k, N, r, s: torch.cos(math.pi * k / N) ** (s * r / N),
            "The mean of two samples delays by something, too.",
        ),
        (lambda k, N, r, s: torch.cos(math.pi * k / (N + 0.5)) + 0 * s, "This is what one period leaves."),
        (
            lambda k, N, r, s: torch.cos(math.pi * k / (N + 0.5)) ** (s * r),
            "The rounding happens once in a period, not once a sample.",
        ),
        (
            lambda k, N, r, s: torch.cos(math.pi * k / (N + 0.5)) ** (k * s * r / (N + 0.5)),
            "A partial goes round the string as often as the others do, however often it swings meanwhile.",
        ),
        (
            lambda k, N, r, s: torch.cos(math.pi * k / (N + 0.5)) ** (2 * s * r / (N + 0.5)),
            "This is the share of its power. The amplitude is asked for.",
        ),
        (
            lambda k, N, r, s: torch.exp(-((math.pi * k) ** 2) * s * r / (2 * (N + 0.5) ** 3)),
            "Right for small angles. The cosine itself is asked for.",
        ),
    )


@exercise("ex-music-transfer", "derive", stars=2, minutes=25, skill="ode")
def transfer(answer: Any) -> None:
    """From half-way up, half of the source is left: its mean drops out only at the top."""

    def go(x: Tensor, m_a: Tensor, v_a: Tensor, m_b: Tensor, v_b: Tensor, abar: Tensor) -> Tensor:
        x_t = abar.sqrt() * m_a + ((abar * v_a + 1 - abar) / v_a).sqrt() * (x - m_a)
        return m_b + (v_b / (abar * v_b + 1 - abar)).sqrt() * (x_t - abar.sqrt() * m_b)

    def exploding(x: Tensor, m_a: Tensor, v_a: Tensor, m_b: Tensor, v_b: Tensor, abar: Tensor) -> Tensor:
        n = 1 - abar
        x_t = m_a + ((v_a + n) / v_a).sqrt() * (x - m_a)
        return m_b + (v_b / (v_b + n)).sqrt() * (x_t - m_b)

    x = torch.tensor([-0.7, 0.2, 1.5], dtype=torch.float64)
    agree(
        answer,
        "transfer(x, m_a, v_a, m_b, v_b, abar)",
        go,
        [(x, 0.1, 0.3, 1.0, 0.05, 0.5), (x, -0.5, 1.5, 0.2, 0.4, 0.9), (x, 0.3, 0.2, -0.4, 0.8, 0.05)],
        "Along the ODE of a Gaussian, a state keeps its distance from the mean of its level in standard deviations of "
        "its level. Which mean, which deviation has class a at this level, and which has class b?",
        (
            lambda x, m_a, v_a, m_b, v_b, abar: m_b + (v_b / v_a).sqrt() * (x - m_a),
            "This is the limit from the very top. How much of the first mean is left at this level?",
        ),
        (
            lambda x, m_a, v_a, m_b, v_b, abar: go(x, m_b, v_b, m_a, v_a, abar),
            "The classes are exchanged: up by a, down by b.",
        ),
        (
            lambda x, m_a, v_a, m_b, v_b, abar: go(x, m_a, v_a**2, m_b, v_b**2, abar),
            "v is a variance, not a standard deviation.",
        ),
        (
            lambda x, m_a, v_a, m_b, v_b, abar: (
                m_b + (v_b / (abar * v_b + 1 - abar)).sqrt() * ((abar * v_a + 1 - abar) / v_a).sqrt() * (x - m_a)
            ),
            "The means of the two classes at this level are not the same, and their difference is missing.",
        ),
        (exploding, "At this level the data is scaled by the root of abar, its mean and its spread too."),
    )


@exercise("ex-music-move", "code", stars=1, minutes=15, skill="samplers")
def move(answer: Any) -> None:
    """The nearest point of a plane lies straight ahead, along the measure's gradient."""

    def truth(x: Tensor, w: Tensor, b: Tensor, y: Tensor) -> Tensor:
        return x + (y - w @ x - b) * w / (w @ w)

    x, w = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    agree(
        answer,
        "move(x, w, b, y)",
        truth,
        [(x, w, 0.3, -1.0), (w, x, -0.5, 2.0), (x, 3 * w, 0.0, 0.7)],
        "The move is a multiple of w. Put it into the measure, and solve for the multiple.",
        (lambda x, w, b, y: x + (y - w @ x - b) * w, "Is the measure y there? Put x' into it: what is w times w?"),
        (
            lambda x, w, b, y: x + (y - w @ x - b) * w / (w @ w).sqrt(),
            "w over its length is a unit vector; the measure changes by the length of w along it.",
        ),
        (lambda x, w, b, y: x - (y - w @ x - b) * w / (w @ w), "It moves away from y."),
        (lambda x, w, b, y: x + (y - w @ x) * w / (w @ w), "The measure has an offset b."),
        (lambda x, w, b, y: (y - w @ x - b) * w / (w @ w), "This is the move. Where does it end?"),
        (lambda x, w, b, y: (y - b) * w / (w @ w), "This is the point of the plane nearest to 0, not to x."),
        (
            lambda x, w, b, y: x + (y - w @ x - b) / w.sum() * torch.ones_like(w),
            "Every number moved by the same gets there too, and goes farther than it needs to.",
        ),
    )

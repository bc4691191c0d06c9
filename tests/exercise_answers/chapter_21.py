"""Right answers and mistakes for the exercises of chapter 21."""

from __future__ import annotations

import math

import numpy as np

from exercise_answers.forms import array_functions, scalar_functions


def difference(a, f, r, tau):
    return a**2 * (1 - math.cos(2 * math.pi * f * tau / r))


def left(k, N, r, s):
    return math.cos(math.pi * k / (N + 0.5)) ** (s * r / (N + 0.5))


def transfer(x, m_a, v_a, m_b, v_b, abar):
    x_t = abar**0.5 * m_a + ((abar * v_a + 1 - abar) / v_a) ** 0.5 * (x - m_a)
    return m_b + (v_b / (abar * v_b + 1 - abar)) ** 0.5 * (x_t - abar**0.5 * m_b)


def by_scores(x, m_a, v_a, m_b, v_b, abar):
    root, n = float(abar) ** 0.5, 1 - float(abar)
    score = (x - m_a) / float(v_a) ** 0.5
    top = root * m_a + (abar * v_a + n) ** 0.5 * score
    return m_b + (top - root * m_b) / (abar * v_b + n) ** 0.5 * float(v_b) ** 0.5


def move(x, w, b, y):
    return x + (y - w @ x - b) * w / (w @ w)


ANSWERS = {
    "ex-music-difference": (
        scalar_functions(
            difference,
            lambda a, f, r, tau: 2 * (a * math.sin(math.pi * f * tau / r)) ** 2,
            lambda a, f, r, tau: a * a - a * a * math.cos(2 * math.pi * tau * (f / r)),
        ),
        [
            ("no half", lambda a, f, r, tau: 2 * difference(a, f, r, tau), "mean of the square of a sine"),
            ("not squared", lambda a, f, r, tau: difference(a, f, r, tau) / a, "squares of the differences"),
            ("correlation", lambda a, f, r, tau: a**2 * math.cos(2 * math.pi * f * tau / r), "equals itself"),
            ("half the angle", lambda a, f, r, tau: difference(a, f / 2, r, tau), "after two"),
            ("seconds", lambda a, f, r, tau: a**2 * (1 - math.cos(2 * math.pi * f * tau)), "counts samples"),
        ],
    ),
    "ex-music-string": (
        scalar_functions(
            left,
            lambda k, N, r, s: math.exp(s * r / (N + 0.5) * math.log(math.cos(math.pi * k / (N + 0.5)))),
            lambda k, N, r, s: math.cos(math.pi * (k * r / (N + 0.5)) / r) ** (s / ((N + 0.5) / r)),
        ),
        [
            ("no half sample", lambda k, N, r, s: left(k, N - 0.5, r, s), "delays by something"),
            ("one period", lambda k, N, r, s: math.cos(math.pi * k / (N + 0.5)), "one period leaves"),
            ("each sample", lambda k, N, r, s: math.cos(math.pi * k / (N + 0.5)) ** (s * r), "once a sample"),
            ("each swing", lambda k, N, r, s: left(k, N, r, k * s), "however often it swings"),
            ("power", lambda k, N, r, s: left(k, N, r, s) ** 2, "share of its power"),
        ],
    ),
    "ex-music-transfer": (
        array_functions(transfer, by_scores),
        [
            ("the top", lambda x, m_a, v_a, m_b, v_b, abar: m_b + (v_b / v_a) ** 0.5 * (x - m_a), "from the very top"),
            ("swapped", lambda x, m_a, v_a, m_b, v_b, abar: transfer(x, m_b, v_b, m_a, v_a, abar), "exchanged"),
            ("deviations", lambda x, m_a, v_a, m_b, v_b, abar: transfer(x, m_a, v_a**2, m_b, v_b**2, abar), "variance"),
        ],
    ),
    "ex-music-move": (
        array_functions(
            move,
            lambda x, w, b, y: x - w * ((x * w).sum() + b - y) / (w**2).sum(),
        )
        + [lambda x, w, b, y: np.asarray(x) + np.asarray(w) * float((y - w @ x - b) / (w @ w))],
        [
            ("no division", lambda x, w, b, y: x + (y - w @ x - b) * w, "what is w times w"),
            ("unit", lambda x, w, b, y: x + (y - w @ x - b) * w / (w @ w) ** 0.5, "unit vector"),
            ("away", lambda x, w, b, y: 2 * x - move(x, w, b, y), "away from y"),
            ("no offset", lambda x, w, b, y: move(x, w, 0, y), "offset b"),
            ("the move", lambda x, w, b, y: move(x, w, b, y) - x, "Where does it end"),
        ],
    ),
}

"""Right answers and mistakes for the exercises of chapter 19."""

from __future__ import annotations

import math

from exercise_answers.forms import numbers, scalar_functions


def blur(v, v_1, v_2):
    return math.log(v_2 / v) / math.log(v_2 / v_1)


def lam(s, a, b, S):
    return s * (1 - (b / a) ** (1 / S))


def calls(tau, low, high):
    return sum(2 if low <= t <= high else 1 for t in tau[1:])


ANSWERS = {
    "ex-guidance-blur": (
        scalar_functions(
            blur,
            lambda v, v_1, v_2: 1 + math.log(v_1 / v) / (math.log(v_2) - math.log(v_1)),
            lambda v, v_1, v_2: float(math.log(v / v_2)) / float(math.log(v_1 / v_2)),
        ),
        [
            ("upside down", lambda v, v_1, v_2: math.log(v_2 / v_1) / math.log(v_2 / v) + 0.0, "one over it"),
            ("from 0", lambda v, v_1, v_2: blur(v, v_1, v_2) - 1, "from another zero"),
            ("straight line", lambda v, v_1, v_2: (v_2 - v) / (v_2 - v_1), "in a straight line"),
            ("tilted", lambda v, v_1, v_2: (1 / v - 1 / v_2) / (1 / v_1 - 1 / v_2), "the tilted density"),
        ],
    ),
    "ex-guidance-ratio": (
        scalar_functions(
            lam,
            lambda s, a, b, S: s - s * math.exp(math.log(b / a) / S),
            lambda s, a, b, S: -s * math.expm1(math.log(b / a) / S),
        ),
        [
            ("solved for s", lambda s, a, b, S: s / (1 - (b / a) ** (1 / S)), "Solved for the other"),
            ("upwards", lambda s, a, b, S: lam(s, b, a, S), "Negative"),
            ("what is left", lambda s, a, b, S: s * (b / a) ** (1 / S), "what is left of the clock"),
            ("many steps", lambda s, a, b, S: s * math.log(a / b) / S, "Right for many steps"),
        ],
    ),
    "ex-guidance-calls": (
        [
            calls,
            lambda tau, low, high: len(tau) - 1 + sum(low <= t <= high for t in tau[1:]),
            lambda tau, low, high: len(tau) - 1 + ((tau[1:] >= low) & (tau[1:] <= high)).sum(),
            lambda tau, low, high: sum(1 + (low <= t) * (t <= high) for t in sorted(tau)[1:]),
        ],
        [
            ("level 0", lambda tau, low, high: calls(tau, low, high) + 1, "level 0"),
            ("guided only", lambda tau, low, high: sum(low <= t <= high for t in tau), "The others cost"),
            ("all levels", lambda tau, low, high: 2 * (len(tau) - 1), "at all levels"),
            ("ends left out", lambda tau, low, high: calls(tau, low + 1, high - 1), "ends of the interval"),
        ],
    ),
    "ex-guidance-infinite": (
        numbers(3),
        [
            ("from 0", 2.0, "from another zero"),
            ("none", 0.5, "bounded"),
            ("too large", 5.0, "happens before"),
            ("tilted", 2.31, "not over the tilted"),
            ("root for variance", 7.0, "or for its root"),
            ("too small", 2.5, "there the mean square is finite"),
        ],
    ),
}

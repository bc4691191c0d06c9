"""Chapter 19, guidance as it is done now."""

from __future__ import annotations

import math
from typing import Any

import torch

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, number, show


def _log(x: Any) -> Any:
    return x.log() if hasattr(x, "log") else math.log(x)


@exercise("ex-guidance-blur", "derive", stars=1, minutes=10, skill="ode")
def blur(answer: Any) -> None:
    """Two errors in one direction point to the truth: the ratio of the logarithms says how far it is."""
    agree(
        answer,
        "scale(v, v_1, v_2)",
        lambda v, v_1, v_2: _log(v_2 / v) / _log(v_2 / v_1),
        [(1.0, 1.2, 1.6), (1.0, 1.0, 2.0), (0.5, 0.6, 0.7), (2.0, 2.5, 4.0)],
        "Put the variance that the guided flow reaches equal to v, and take logarithms.",
        (lambda v, v_1, v_2: _log(v_2 / v_1) / _log(v_2 / v), "This is one over it."),
        (lambda v, v_1, v_2: _log(v_1 / v) / _log(v_2 / v_1), "Counted from another zero: scale 1 is the good model."),
        (
            lambda v, v_1, v_2: (v_2 - v) / (v_2 - v_1),
            "Variances don't mix in a straight line here; their logarithms do.",
        ),
        (
            lambda v, v_1, v_2: (1 / v - 1 / v_2) / (1 / v_1 - 1 / v_2),
            "This is what the tilted density would need, and the flow does not reach it.",
        ),
    )


@exercise("ex-guidance-ratio", "derive", stars=2, minutes=15, skill="samplers")
def ratio(answer: Any) -> None:
    """In steps of one ratio CFG++ is plain guidance with one scale, and it is the number of steps that translates."""
    agree(
        answer,
        "lam(s, a, b, S)",
        lambda s, a, b, S: s * (1 - (b / a) ** (1 / S)),
        [(3.0, 100.0, 0.1, 10.0), (2.0, 80.0, 0.5, 4.0), (7.5, 20.0, 0.01, 50.0), (1.0, 2.0, 1.0, 1.0)],
        "What does one step multiply the clock by? Then solve the translation of scales for lambda.",
        (lambda s, a, b, S: s / (1 - (b / a) ** (1 / S)), "Solved for the other scale: CFG++'s is the smaller one."),
        (lambda s, a, b, S: s * (1 - (a / b) ** (1 / S)), "Negative: down, the clock shrinks from a to b."),
        (lambda s, a, b, S: s * (b / a) ** (1 / S), "This is what is left of the clock, not what the step takes."),
        (lambda s, a, b, S: s * (1 - b / a) / S, "In equal ratios, not in equal differences."),
        (lambda s, a, b, S: s * _log(a / b) / S, "Right for many steps. The exact one is asked for."),
    )


@exercise("ex-guidance-calls", "code", stars=1, minutes=10, skill="samplers")
def calls(answer: Any) -> None:
    """A guided step costs two calls and another one: an interval buys steps."""

    def within(tau: Any, low: Any, high: Any) -> int:
        return sum(bool(low <= t <= high) for t in tau[1:])

    cases = [([0, 100, 200, 300], 200, 300), ([0, 1, 2, 3, 4], 1, 2), ([0, 250, 500, 750, 1000], 500, 750)]
    agree(
        answer,
        "calls(tau, low, high)",
        lambda tau, low, high: len(tau) - 1 + within(tau, low, high),
        [(torch.tensor(tau), *ends) for tau, *ends in cases],
        "A step from a level within the interval costs two calls, another one.",
        (lambda tau, low, high: len(tau) + within(tau, low, high), "One too many. Is the network asked at level 0?"),
        (within, "These are the guided steps. The others cost a call, too."),
        (lambda tau, low, high: 2 * (len(tau) - 1), "This is guidance at all levels."),
        (
            lambda tau, low, high: len(tau) - 1 + within(tau, low + 1, high - 1),
            "The ends of the interval belong to it.",
        ),
        (
            lambda tau, low, high: len(tau) - 1 + sum(bool(low <= t <= high) for t in tau[:-1]),
            "A step is guided by the level that it leaves, not by the one it reaches.",
        ),
    )


@exercise("ex-guidance-infinite", "break", stars=2, minutes=20, skill="ode")
def infinite(answer: Any) -> None:
    """From that scale on no number of samples is enough: the estimate by weights has no variance to speak of."""
    s = number(answer)
    said = f"s = {show(s)}: "
    if abs(s - 3) < 0.02:
        return
    if s <= 1:
        raise Wrong(said + "at 0 and 1 all weights are 1, and between them they are bounded.")
    if abs(s - 2) < 0.02:
        raise Wrong(said + "counted from another zero? At scale 1 the class is taken as trained.")
    if abs(s - 2.313) < 0.02:
        raise Wrong(said + "the mean of the square is over what the flow reaches, not over the tilted.")
    if abs(s - 7) < 0.1:
        raise Wrong(said + "it happens before. Is 2^(1 - s) taken for the variance that is reached, or for its root?")
    if s > 3:
        raise Wrong(said + "it happens before.")
    raise Wrong(said + "there the mean square is finite. Its exponent has to lose its minus sign.")

"""For every exercise: right answers pass in different forms, and typical mistakes get the hint that fits them.

Forms: ints and floats, fractions and decimals, SymPy's numbers, NumPy's and PyTorch's of both precisions, lists,
tuples, arrays, columns and dicts; where a function is asked for, different ways to write it, and results of different
forms. Mistakes: s and t swapped, a variance for a standard deviation, off by one level, an alpha for a product of them,
a wrong sign, a factor of 2. The table is in the folder exercise_answers.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import sympy
import torch
from exercise_answers import ANSWERS
from exercise_answers.chapters_11_to_15 import back, in_order, operator

from ddim_edu.exercises import check, registry


def rows(which: int) -> list:
    return [
        pytest.param(label, row, id=f"{label}-{i}")
        for label, parts in ANSWERS.items()
        for i, row in enumerate(parts[which])
    ]


@pytest.mark.parametrize(("label", "answer"), rows(0))
def test_a_right_answer_passes_in_every_form(label, answer):
    verdict = check(label, answer)
    assert verdict, verdict.message


@pytest.mark.parametrize(("label", "row"), rows(1))
def test_a_typical_mistake_gets_the_hint_that_fits_it(label, row):
    mistake, answer, words = row
    verdict = check(label, answer)
    assert not verdict and verdict.reason == "wrong", f"{mistake}: {verdict.message}"
    assert words in verdict.message, f"{mistake}: {verdict.message}"


def test_every_exercise_has_three_right_answers_and_three_mistakes():
    assert set(ANSWERS) == set(registry())
    for label, (right, wrong) in ANSWERS.items():
        assert len(right) >= 3 and len(wrong) >= 3, label
        assert len({words for _, _, words in wrong}) >= 2, f"{label}: one hint cannot fit all mistakes"
        assert len({mistake for mistake, _, _ in wrong}) == len(wrong), label


# Where a multiple of a right answer is right, too, and why.
FREE = {
    ("ex-adaptive-tilt", 2.0): "weights are asked for up to a common factor",
    ("ex-adaptive-tilt", 0.5): "weights are asked for up to a common factor",
    ("ex-family-upwards", -1.0): "the negatives of such noises are such noises",
    ("ex-unet-batch-norm", 2.0): "the change depends on the weights of the reader's network",
    ("ex-unet-batch-norm", 0.5): "the change depends on the weights of the reader's network",
}


def times(answer, factor: float):
    if callable(answer):
        return lambda *args: times(answer(*args), factor)
    if isinstance(answer, SimpleNamespace):
        return SimpleNamespace(forward=answer.forward, pseudo_inverse=times(answer.pseudo_inverse, factor))
    return [times(value, factor) for value in answer] if isinstance(answer, list | tuple) else answer * factor


@pytest.mark.parametrize("factor", [2.0, 0.5, -1.0])
@pytest.mark.parametrize("label", ANSWERS)
def test_a_factor_makes_a_right_answer_wrong(label, factor):
    right = operator(in_order, back) if label == "ex-restoration-both" else ANSWERS[label][0][0]
    assert check(label, times(right, 1))
    verdict = check(label, times(right, factor))
    assert bool(verdict) == ((label, factor) in FREE), verdict.message
    assert verdict or verdict.reason == "wrong", verdict.message


@pytest.mark.parametrize(
    "answer",
    [
        "11.05",
        b"11.05",
        np.array("11.05"),
        np.array(["11.05"]),
        True,
        np.bool_(True),
        torch.tensor(True),
        11.05 + 0j,
        np.complex128(11.05),
        torch.tensor(11.05 + 0j),
        sympy.Symbol("v"),
        sympy.I,
        sympy.Symbol("v") + 1,
        {11.05},
        {"v": 11.05},
        [],
        [[11.05], [1, 2]],
        [None],
        None,
    ],
    ids=repr,
)
def test_what_is_no_real_number_is_said_to_be_none(answer):
    verdict = check("ex-forward-no-shrink", answer)
    assert verdict.reason == "unfit", verdict


@pytest.mark.parametrize(
    "answer",
    [10**400, Fraction(10) ** 400, Decimal("1e400"), -(10**400), math.inf, Decimal("nan"), sympy.oo, sympy.nan],
    ids=lambda value: f"{type(value).__name__}",
)
def test_what_is_not_finite_is_said_to_be_so(answer):
    verdict = check("ex-forward-no-shrink", answer)
    assert verdict.reason == "wrong" and ("inf" in verdict.message or "nan" in verdict.message)


def test_a_set_has_no_order():
    verdict = check("ex-sound-overlap", {2, 1.5})
    assert verdict.reason == "unfit" and "A set has none" in verdict.message


@pytest.mark.parametrize("label", ANSWERS)
def test_a_table_with_another_shape_is_told_the_one_that_is_asked_for(label):
    verdict = check(label, torch.zeros(2, 3, 5))
    assert verdict.reason == "unfit", verdict

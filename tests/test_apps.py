"""What the applications refuse, in one line."""

import math

import pytest
import torch
from apps_cases import KNOWN, LINEAR, ONE, PLANE, TAU

from ddim_edu.apps.edit import first_steps, renoise, translate
from ddim_edu.apps.interpolate import between, direction, lerp, move, slerp, triangle
from ddim_edu.apps.operators import AveragePool, Grey, Mask
from ddim_edu.apps.restore import restore
from ddim_edu.exact import GaussianMixture
from ddim_edu.guidance import Tilted, guided, of_class


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Mask(torch.ones(2, 2)), "bool"),
        (lambda: Mask(KNOWN).forward(torch.zeros(1, 1, 5, 6)), "(6, 6)"),
        (lambda: Mask(KNOWN).forward(torch.zeros(6, 6)), "(6, 6)"),
        (lambda: AveragePool(1), "factor = 1"),
        (lambda: AveragePool(2.5), "factor = 2.5"),
        (lambda: AveragePool(4).forward(torch.zeros(1, 1, 6, 8)), "6 x 8"),
        (lambda: Grey((1, 0)), "three"),
        (lambda: Grey((1, -1, 0)), "weights"),
        (lambda: Grey().forward(torch.full((1, 3, 2, 2), 200, dtype=torch.uint8)), "uint8"),
        (lambda: AveragePool(math.inf), "factor = inf"),
        (lambda: Grey().forward(torch.zeros(1, 1, 4, 4)), "no colour"),
        (lambda: restore(None, Mask(KNOWN), torch.zeros(1, 1, 6, 6), LINEAR, TAU, travel=0), "travel = 0"),
        (lambda: restore(None, Mask(KNOWN), torch.zeros(1, 1, 6, 6), LINEAR, TAU, jump=0), "jump = 0"),
        (lambda: guided(None, None, math.nan), "scale = nan"),
        (lambda: guided(None, None, 1e39), "scale = 1e+39: give a number up to 1e+06"),
        (lambda: of_class(ONE, 5), "components = 5"),
        (lambda: of_class(ONE, []), "components"),
        (lambda: Tilted(PLANE, 0, 1.0), "2 dimensions"),
        (lambda: slerp(torch.ones(1, 3), -torch.ones(1, 3), 0.5), "opposite"),
        (lambda: slerp(torch.ones(1, 3), torch.zeros(1, 3), 0.5), "zero"),
        (lambda: slerp(torch.ones(1, 3), torch.full((1, 3), math.nan), 0.5), "not a number"),
        (lambda: slerp(torch.ones(1, 3), torch.full((1, 3), math.inf), 0.5), "infinite"),
        (lambda: slerp(torch.ones(1, 3).long(), torch.ones(1, 3).long(), 0.5), "give floats"),
        (lambda: slerp(torch.ones(1, 3), torch.ones(1, 4), 0.5), "(1, 4)"),
        (lambda: slerp(torch.ones(2, 3), torch.ones(2, 3), torch.ones(3)), "batch of 2"),
        (lambda: triangle(*torch.eye(3), 1), "n = 1"),
        (lambda: first_steps(TAU, 1.1), "strength = 1.1"),
        (lambda: renoise(None, torch.zeros(1, 2), LINEAR, TAU, -0.1), "strength = -0.1"),
    ],
)
def test_bad_input_is_named_in_one_line(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x, e: lerp(x, x[:1], 0.5), "shapes"),
        (lambda x, e: between(e, x, x[:1], LINEAR, [0, 500], [0.5]), "shapes"),
        (lambda x, e: between(e, x, x, LINEAR, [0, 500], []), "fractions"),
        (lambda x, e: direction(x, x[:0]), "0 that lack"),
        (lambda x, e: move(torch.ones(1, 2), torch.ones(2), -1.0), "zero"),
        (lambda x, e: restore(e, Mask(torch.ones(1, dtype=torch.bool)), x, LINEAR, [0]), "tau"),
        (lambda x, e: restore(e, Mask(torch.ones(1, dtype=torch.bool)), x, LINEAR, []), "tau"),
        (lambda x, e: renoise(e, x, LINEAR, [3, 2], 0.0), "tau"),
        (lambda x, e: renoise(e, x, LINEAR, [0, 500], 0.0, eta=-1.0), "eta"),
        (lambda x, e: translate(e, e, x, LINEAR, [3, 2], 0.0), "tau"),
        (lambda x, e: Grey((0.1, 0.2, -0.3)), "three numbers"),
        (lambda x, e: Grey((1.0, float("inf"), 0.0)), "three numbers"),
        (lambda x, e: of_class(GaussianMixture([1, 1], [[0.0], [1.0]], 1.0, LINEAR), [0, 0]), "once"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, words):
    with pytest.raises(ValueError) as error:
        call(torch.zeros(2, 3), lambda x, t: torch.zeros_like(x))
    assert words in str(error.value) and "\n" not in str(error.value)

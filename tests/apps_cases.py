"""What the tests of the applications begin with."""

import torch

from ddim_edu.exact import Gaussian, GaussianMixture
from ddim_edu.schedule import NoiseSchedule, make_tau

LINEAR = NoiseSchedule.linear()
TAU = make_tau(1000, 50, "trailing")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


KNOWN = torch.rand(6, 6, generator=generator(1)) < 0.4

RHO = 0.8
PAIR = Gaussian(torch.zeros(2), torch.tensor([[1.0, RHO], [RHO, 1.0]]), LINEAR)
PLANE = GaussianMixture([0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], 0.03, LINEAR)

ONE = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], [0.5, 0.2], LINEAR)

r"""Solvers that are learned: which levels to ask about, and how to weigh the answers (chapter 17).

A solver with S calls on fixed levels that is linear in what it is told can choose two things: where it asks, and with
which weights it adds up. Both can be fitted to a few paths that were followed in many short steps. :func:`cheapest`
finds the levels for which the single errors of DDIM steps (:func:`step_errors`) add up to least, over all choices of
levels, by dynamic programming (as Watson et al. 2021 do with the terms of the bound, and Chen et al. 2024 with errors
of steps). :func:`fit_weights` finds the sums by least squares: :func:`weighted` is then a solver, of which DDIM,
DPM-Solver++(2M) and Heun's method with reused noise are special cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ddim_edu.forward import EpsTheta, predict, unmix_x0
from ddim_edu.sampler import Step, ddim_step
from ddim_edu.schedule import NoiseSchedule, check_tau


@torch.no_grad()
def states_at(path: Iterable[Step], levels: Sequence[int]) -> dict[int, Tensor]:
    """The states of a path ``(B, ...)`` at some of its levels, by level; 0 is the data.

    Raises:
        ValueError: if the path does not come by one of them.
    """
    wanted, found = set(levels), {}
    for step in path:
        for level, x in ((step.t, step.x_t), (step.s, step.x_s)):
            if level in wanted:
                found[level] = x
    if missing := wanted - found.keys():
        raise ValueError(f"the path does not come by level {min(missing)}")
    return found


@torch.no_grad()
def step_errors(eps_theta: EpsTheta, right: Mapping[int, Tensor], schedule: NoiseSchedule) -> Tensor:
    """The errors of single DDIM steps, each from a state that is right, for every pair of levels.

    No more calls are needed than one for each level: the noise that is predicted at a level serves every step that
    leaves it.

    Args:
        eps_theta: the noise predictor.
        right: states ``(B, ...)`` by level, as from :func:`states_at`: of the same B paths, level 0 among them.
        schedule: the noise schedule.

    Returns:
        ``(N+1, N+1)`` float64 for the N+1 levels in rising order. Entry ``[i, j]``, for i < j, is the root mean square
        over starts and coordinates of the error at the i-th level of a step from the j-th; elsewhere infinity.

    Raises:
        ValueError: if levels are out of range.
    """
    levels, abar = check_tau(sorted(right), schedule.T), schedule.alpha_bar.tolist()
    errors = torch.full((len(levels), len(levels)), torch.inf, dtype=torch.float64)
    for j, t in enumerate(levels[1:], 1):
        eps = predict(eps_theta, right[t], t)
        for i, s in enumerate(levels[:j]):
            off = ddim_step(right[t], eps, abar[t], abar[s]) - right[s]
            errors[i, j] = off.double().square().mean().sqrt()
    return errors


def cheapest(cost: Tensor, S: int) -> list[int]:
    """The way of S steps from the last to the first of N+1 places of which the costs add up to least.

    Dynamic programming: the cheapest way of k + 1 steps from j begins with a step to some i, and goes on by the
    cheapest way of k steps from there. S N^2 / 2 sums find the best of all choices.

    Args:
        cost: ``(N+1, N+1)``; entry ``[i, j]``, i < j, is the cost of a step from j to i.
        S: number of steps, 1..N.

    Returns:
        S+1 rising places, from 0 to N.

    Raises:
        ValueError: if S is not in 1..N, or the cost is no square.
    """
    N = len(cost) - 1
    if cost.shape != (N + 1, N + 1) or not 1 <= S <= N:
        raise ValueError(f"cost of shape {tuple(cost.shape)} and S = {S}: give a square of S + 1 places at least")
    upper = torch.triu(torch.ones_like(cost, dtype=torch.bool), 1)
    cost = torch.where(upper, cost, torch.inf)
    least = torch.full((N + 1,), torch.inf, dtype=cost.dtype)  # of the ways from each place to 0
    least[0] = 0.0
    chosen = []
    for _ in range(S):
        least, to = (least[:, None] + cost).min(0)
        chosen.append(to)
    way = [N]
    for to in reversed(chosen):
        way.append(int(to[way[-1]]))
    return way[::-1]


@torch.no_grad()
def fit_weights(
    eps_theta: EpsTheta,
    x_T: Tensor,
    schedule: NoiseSchedule,
    tau: Tensor | Sequence[int],
    right: Mapping[int, Tensor],
) -> Tensor:
    r"""The weights of :func:`weighted` with which each state comes closest to the right one, by least squares.

    Step after step: the states and the answers that came before are those of the weights found so far.

    Args:
        eps_theta: the noise predictor.
        x_T: ``(B, ...)`` starts at level ``tau[-1]``.
        schedule: the noise schedule.
        tau: ``(S+1,)`` levels from 0.
        right: the right states at the levels of tau, as from :func:`states_at`.

    Returns:
        ``(S, S+1)`` float64.

    Raises:
        ValueError: if tau is out of range.
    """
    levels, abar = check_tau(tau, schedule.T)[::-1], schedule.alpha_bar.tolist()
    weights = torch.zeros(len(levels) - 1, len(levels), dtype=torch.float64)
    known, x = [x_T], x_T
    for k, (t, s) in enumerate(pairwise(levels)):
        known.append(unmix_x0(x, predict(eps_theta, x, t), abar[t]))
        columns = torch.stack([a.double().flatten() for a in known], 1)
        weights[k, : k + 2] = torch.linalg.lstsq(columns, right[s].double().reshape(-1, 1)).solution[:, 0]
        x = _summed(known, weights[k])
    return weights


@torch.no_grad()
def weighted(
    eps_theta: EpsTheta, x_T: Tensor, schedule: NoiseSchedule, tau: Tensor | Sequence[int], weights: Tensor
) -> Tensor:
    r"""The solver whose next state is a sum of the start and of all data predicted so far.

    .. math:: x_{s_k} = w_{k0}\, x_T + \sum_{j=1}^{k} w_{kj}\, \hat x_0^{(j)}

    where :math:`\hat x_0^{(j)}` is the data that was predicted at the j-th level from above, and :math:`s_k` the level
    below the k-th. DDIM, DPM-Solver++(2M) and Heun's method with reused noise are of this form. (Predicted data keeps
    its size. Noises would do in theory; near T, where they are almost the start itself, their weights are huge.)

    Args:
        eps_theta: the noise predictor, called once a step.
        x_T: ``(B, ...)`` the start.
        schedule: the noise schedule.
        tau: ``(S+1,)`` levels from 0.
        weights: ``(S, S+1)``, as from :func:`fit_weights`; above the diagonal they are not used.

    Returns:
        ``(B, ...)`` x_0.

    Raises:
        ValueError: if tau is out of range, or the weights are of another shape.

    Equations: eq:any-solver
    """
    levels, abar = check_tau(tau, schedule.T)[::-1], schedule.alpha_bar.tolist()
    weights = torch.as_tensor(weights, dtype=torch.float64)
    if weights.shape != (len(levels) - 1, len(levels)):
        raise ValueError(f"weights of shape {tuple(weights.shape)}: {len(levels) - 1} steps need {len(levels)} each")
    known, x = [x_T], x_T
    for t, row in zip(levels, weights):
        known.append(unmix_x0(x, predict(eps_theta, x, t), abar[t]))
        x = _summed(known, row)
    return x


def _summed(known: list[Tensor], row: Tensor) -> Tensor:
    return sum((w * a for w, a in zip(row.tolist(), known)), torch.zeros_like(known[0]))

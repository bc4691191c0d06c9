"""The kit as a Python call."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable

from ddim_edu.conformance.contract import SIGNATURES, Refused, listen, speaking
from ddim_edu.conformance.oracles_invert import invert
from ddim_edu.conformance.oracles_levels import tau
from ddim_edu.conformance.oracles_sampler import sampler
from ddim_edu.conformance.oracles_schedule import schedule_kind
from ddim_edu.conformance.oracles_scheduler import scheduler
from ddim_edu.conformance.oracles_sigma import sigma
from ddim_edu.conformance.oracles_step import step
from ddim_edu.conformance.report import Verdict

KINDS: dict[str, Callable] = {
    "step": step,
    "sampler": sampler,
    "invert": invert,
    "sigma": sigma,
    "tau": tau,
    "schedule": schedule_kind,
    "scheduler": scheduler,
}


def check(function: Callable, kind: str, arrays: str | None = None) -> Verdict:
    """Judge a function, and name its bug.

    Functions of other orders of arguments are bound by a lambda, as in
    ``check(lambda x_t, eps, t, s, eta, noise, alpha_bar: mine(eps, x_t, alpha_bar[t], alpha_bar[s], eta, noise),
    "step")``.

    Args:
        function: what keeps the contract of its kind, see ``SIGNATURES``.
        kind: a key of ``KINDS``.
        arrays: what the function takes, ``"torch"``, ``"numpy"`` or ``"jax"``. By default torch tensors, and where it
            fails with them, numpy arrays, then jax arrays if jax is installed.

    Raises:
        Refused: if the kind or the arrays are unknown, or the function can't be called with the contract's arguments.
    """
    if kind not in KINDS:
        raise Refused(f"there is no kind {kind!r}; choose one of {', '.join(KINDS)}")
    given = SIGNATURES[kind].split("(")[1].split(")")[0]
    count = len([name for name in given.split(",") if name.strip()])
    try:
        if not hasattr(function, "set_timesteps"):
            inspect.signature(function).bind(*range(count))
    except ValueError:
        pass  # builtins without a signature
    except TypeError as error:
        raise Refused(f"the function can't be called as {SIGNATURES[kind]}: {error}") from None
    listen()
    verdict = _judged(function, kind, arrays or "torch")
    if arrays is None and not _runs(verdict) and kind != "scheduler":
        for other in ("numpy", "jax") if importlib.util.find_spec("jax") else ("numpy",):
            again = _judged(function, kind, other)
            if _runs(again):
                again.saw("arrays", True, f"{other} arrays: it does not run with torch tensors")
                verdict = again
                break
    if verdict.verdict == "right":
        verdict.explanation = "Right to rounding, as far as the kit looks."
    return verdict


def _judged(function: Callable, kind: str, arrays: str) -> Verdict:
    verdict = Verdict(kind)
    KINDS[kind](verdict, speaking(function, arrays))
    return verdict


def _runs(verdict: Verdict) -> bool:
    return verdict.oracles.get("runs", {"passed": True})["passed"]


def assert_conforms(function: Callable, kind: str, arrays: str | None = None) -> None:
    """For a test: AssertionError with the kit's report if the function is wrong. The arguments are those of
    :func:`check`.
    """
    verdict = check(function, kind, arrays)
    assert verdict.ok, "\n" + verdict.text(getattr(function, "__name__", ""))

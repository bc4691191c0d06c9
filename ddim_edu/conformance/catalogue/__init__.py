r"""Known mistakes: each replaces one line of :mod:`ddim_edu.conformance.reference`, and says what that does.

``abar_t`` and ``abar_s`` are alpha-bar at the level left and at the level reached. Equation numbers are those of the
DDIM paper (whose alpha is our alpha-bar) unless another is named. Of two mistakes that make the same function the
earlier one is named.
"""

from collections.abc import Mapping

from ddim_edu.conformance.catalogue.clipping import CLIPPING
from ddim_edu.conformance.catalogue.direction import DDPM, DIRECTION, WHOLE
from ddim_edu.conformance.catalogue.inversion import INVERSION
from ddim_edu.conformance.catalogue.levels import INDEX, LAST_STEP
from ddim_edu.conformance.catalogue.mistake import Mistake
from ddim_edu.conformance.catalogue.noise import DRAWN, FRESH
from ddim_edu.conformance.catalogue.predicted import PREDICTED, SIGNAL
from ddim_edu.conformance.catalogue.schedules import COSINES, SCALED, SCHEDULES
from ddim_edu.conformance.catalogue.sigma import SIGMAS
from ddim_edu.conformance.catalogue.walk import ASKED, GRIDS, SHOWN, STARTS, STRIDE

__all__ = ["BY_ID", "MISTAKES", "Mistake", "of_kind"]

MISTAKES: tuple[Mistake, ...] = (
    *DIRECTION, *SIGMAS, *PREDICTED, *SIGNAL, *FRESH, *DRAWN, *LAST_STEP, *INDEX, *CLIPPING, *WHOLE, *DDPM,
    *STRIDE, *GRIDS, *ASKED, *STARTS, *SHOWN, *INVERSION, *SCHEDULES, *SCALED, *COSINES,
)  # fmt: skip
BY_ID: Mapping[str, Mistake] = {mistake.id: mistake for mistake in MISTAKES}


def of_kind(kind: str) -> list[Mistake]:
    """The mistakes that a function of this kind can have."""
    return [mistake for mistake in MISTAKES if kind in mistake.kinds]

r"""The contract, and what a function does when it is called by it.

Whatever the kind, what comes out is a list of :class:`Move`: a state, the noise predicted in it, the two levels, and
the state that the function made of them. Samplers and inversions are recorded from inside the network that they are
given: what they asked, at which level of which state, and what they drew at random.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ddim_edu.exact import GaussianMixture
from ddim_edu.schedule import NoiseSchedule

SIGNATURES = {
    "step": "f(x_t, eps, t, s, eta, noise, alpha_bar) -> x_s",
    "sampler": "f(eps_theta, x_T, S, eta, alpha_bar) -> x_0",
    "invert": "f(eps_theta, x_0, S, alpha_bar) -> x_T",
    "sigma": "f(t, s, eta, alpha_bar) -> sigma",
    "tau": "f(T, S) -> levels",
    "schedule": "f(T) -> alpha_bar, T + 1 numbers",
    "scheduler": "f() -> an object with set_timesteps(S), timesteps and step(model_output, timestep, sample), "
    "as diffusers has them",
}


class Refused(Exception):
    """The function could not be called, or did not answer with what the contract says. One line."""


@dataclass(frozen=True)
class Move:
    """One step of a function under test.

    Attributes:
        x: the state left, ``(B, ...)``.
        eps: the noise predicted in it.
        t: the level left.
        s: the level reached.
        eta: as given.
        noise: the fresh noise used, zeros where none was.
        x_s: the state reached.
        S: number of steps of the sampler it belongs to, if it belongs to one.
    """

    x: np.ndarray
    eps: np.ndarray
    t: int
    s: int
    eta: float
    noise: np.ndarray
    x_s: np.ndarray
    S: int | None = None


@dataclass
class Run:
    """One run of a sampler or an inversion, as seen by its network.

    Attributes:
        S, eta: as given.
        start: the state given.
        asked: the level that each call named.
        states: what each call showed.
        answers: what the network answered.
        draws: what the function drew at random, with the name of torch's (or numpy's) function.
        result: what came back; None if the function failed.
        error: how it failed, in one line.
        notes: what the contract does not foresee but the network understood.
    """

    S: int
    eta: float
    start: np.ndarray
    asked: list[float] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    answers: list[np.ndarray] = field(default_factory=list)
    draws: list[tuple[str, np.ndarray]] = field(default_factory=list)
    result: np.ndarray | None = None
    error: str = ""
    notes: set[str] = field(default_factory=set)


def load(target: str) -> Callable:
    """The function that ``FILE.py:NAME`` or ``package.module:NAME`` names.

    Raises:
        Refused: if there is no such file or function, or the file does not run.
    """
    file, _, name = target.rpartition(":")
    if not file or not name:
        raise Refused(f"{target}: name a function as FILE.py:FUNCTION")
    try:
        if file.endswith(".py"):
            path = Path(file).resolve()
            if not path.is_file():
                raise Refused(f"{file}: there is no such file")
            sys.path.insert(0, str(path.parent))  # so that it can import its neighbours
            spec = importlib.util.spec_from_file_location(path.stem, path)
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(path.stem, module)  # dataclasses and pickles look themselves up there
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, str(Path.cwd()))
            module = importlib.import_module(file)
    except Refused:
        raise
    except (Exception, SystemExit) as error:
        raise Refused(f"{file} does not run: {one_line(error)}") from None
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        have = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        ]
        raise Refused(f"{file} has no function {name}" + (f"; it has {', '.join(have[:6])}" if have else ""))
    return found


def one_line(error: BaseException) -> str:
    """An exception as one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def array(value: object) -> np.ndarray:
    """Anything of numbers as a float64 numpy array (a list, a numpy, torch or jax array)."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", torch.float64).numpy().copy()
    if isinstance(value, (list, tuple)):
        value = [v.item() if isinstance(v, torch.Tensor) else v for v in value]
    return np.array(value, dtype=np.float64)


ARRAYS = ("torch", "numpy", "jax")


def speaking(f: Callable, arrays: str) -> Callable:
    """A function of numpy or jax arrays as one of torch tensors, which the contract names: the only place of this
    conversion.

    Each tensor that it is given is converted, and a network that it is given takes such arrays and answers with them.

    Args:
        f: the function.
        arrays: one of ``ARRAYS``; with ``"torch"`` the function stays as it is.

    Raises:
        Refused: if jax is not installed, or nothing of that name is known.
    """
    if arrays not in ARRAYS:
        raise Refused(f"there are no arrays {arrays!r}; choose one of {', '.join(ARRAYS)}")
    if arrays == "torch":
        return f
    make = np.array
    if arrays == "jax":
        try:
            make = importlib.import_module("jax.numpy").asarray
        except ImportError:
            raise Refused("jax is not installed") from None

    def into(value: object) -> object:
        if isinstance(value, torch.Tensor):
            return make(value.detach().numpy())
        return asked_with_arrays(value) if callable(value) else value

    def asked_with_arrays(network: Callable) -> Callable:
        def ask(x, t):
            return make(
                network(torch.from_numpy(np.array(x)), torch.from_numpy(np.array(t)) if np.ndim(t) else t).numpy()
            )

        return ask

    return lambda *given: f(*(into(value) for value in given))


def first_of(value: object) -> object:
    """The first of several results, the state of an output object: what comes beside the state is dropped."""
    for name in ("prev_sample", "sample"):
        if hasattr(value, name) and isinstance(getattr(value, name), torch.Tensor):
            return getattr(value, name)
    return value[0] if isinstance(value, tuple) and value else value


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No gradients, no warnings of arithmetic, no output of the function: what it prints would hide the verdict."""
    import io
    import warnings

    with (
        torch.no_grad(),
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            yield


def call_step(f: Callable, move: Move, alpha_bar: torch.Tensor, how: str) -> np.ndarray:
    """Call a step function in one of the ways of ``WAYS``."""
    tensor = torch.from_numpy
    t, s = WAYS[how](move.t, len(move.x)), WAYS[how](move.s, len(move.x))
    abar = alpha_bar.numpy() if how == "numpy" else alpha_bar
    with quiet():
        got = first_of(
            f(tensor(move.x.copy()), tensor(move.eps.copy()), t, s, move.eta, tensor(move.noise.copy()), abar)
        )
    got = array(got)
    if got.shape != move.x.shape:
        raise ValueError(f"x_s has shape {got.shape}, x_t {move.x.shape}")
    return got


WAYS: dict[str, Callable[[int, int], object]] = {
    "ints": lambda t, n: t,
    "numpy": lambda t, n: t,
    "levels as (B,) tensors": lambda t, n: torch.full((n,), t),
    "levels as 0-d tensors": lambda t, n: torch.tensor(t),
}


def step_moves(f: Callable, moves: list[Move], alpha_bar: np.ndarray) -> tuple[list[Move], str]:
    """What a step function makes of each move, and in which way it had to be called.

    Raises:
        Refused: if it fails in every way.
    """
    abar, first_error = torch.from_numpy(np.array(alpha_bar)), None
    for how in WAYS:
        try:
            return [replace(move, x_s=call_step(f, move, abar, how)) for move in moves], how
        except Exception as error:
            first_error = first_error or error
    raise Refused(f"the step failed: {one_line(first_error)} (it is called as {SIGNATURES['step']})")


class Network:
    """An exact noise predictor that writes down what it is asked.

    Args:
        alpha_bar: of the schedule, ``(T+1,)``.
        spread: how far the data reaches: below 1, so that clipping to [-1, 1] has nothing to do, or beyond.
        shape: of one picture; its size is the mixture's dimension.
        std: of each component; by default a fiftieth of the spread, which is nearly points.
        weights: of the three components; a weight for each of the first ones is enough.
    """

    def __init__(
        self,
        alpha_bar: np.ndarray,
        spread: float = 0.8,
        shape: tuple[int, ...] = (1, 2, 2),
        std: float | None = None,
        weights: Sequence[float] = (0.5, 0.3, 0.2),
    ) -> None:
        # From the betas, so that the mixture's schedule is this one to rounding.
        schedule = NoiseSchedule.from_betas(1 - alpha_bar[1:] / alpha_bar[:-1])
        size = int(np.prod(shape))
        rows = torch.tensor(
            [[1.0, -1.0, 0.5, 0.25], [-0.75, 0.5, 1.0, -1.0], [0.25, 1.0, -0.5, -0.25]], dtype=torch.float64
        )
        means = spread * rows.repeat(1, -(-size // 4))[: len(weights), :size]
        self.data = GaussianMixture(weights, means, (0.02 * spread if std is None else std) ** 2, schedule)
        self.T, self.shape, self.run = schedule.T, shape, None

    def __call__(self, x: torch.Tensor, t: object) -> torch.Tensor:
        run = self.run
        if not isinstance(t, torch.Tensor):
            run.notes.add(f"levels come as {type(t).__name__}, not as an int tensor of shape (B,)")
        level = torch.as_tensor(t).detach().to(torch.float64).flatten()
        if isinstance(t, torch.Tensor) and tuple(t.shape) not in ((len(x),), (1,), ()):
            run.notes.add(f"levels come in shape {tuple(t.shape)}, not (B,)")
        run.asked.append(float(level[0]))
        run.states.append(array(x))
        known = (
            level.round().clamp(1, self.T).to(torch.int64).expand(len(x))
            if len(level) == 1
            else level.round().clamp(1, self.T).to(torch.int64)
        )
        answer = self.data.eps(x.detach().reshape(len(x), -1), known).reshape(x.shape)
        run.answers.append(array(answer))
        return answer


_DRAWING = ("randn", "randn_like", "normal", "rand", "rand_like")
_listeners: list[list] = []


def listen() -> None:
    """From now on, what torch and numpy draw at random is shown to whoever records. Called before a file under test is
    imported.
    """
    if getattr(torch.randn, "listened", False):
        return

    def wrap(home, name, label):
        inner = getattr(home, name)

        def drawing(*args, **kwargs):
            drawn = inner(*args, **kwargs)
            for heard in _listeners[-1:]:
                with contextlib.suppress(Exception):
                    heard.append((label, array(drawn)))
            return drawn

        drawing.listened = True
        setattr(home, name, drawing)

    for name in _DRAWING:
        wrap(torch, name, "uniform" if name.startswith("rand") and not name.startswith("randn") else "normal")
    wrap(torch.Tensor, "normal_", "normal")
    for name, label in (("randn", "normal"), ("standard_normal", "normal"), ("normal", "normal"), ("rand", "uniform")):
        wrap(np.random, name, label)


@contextlib.contextmanager
def overhear(draws: list) -> Iterator[None]:
    """Within, what torch and numpy draw at random is added to ``draws``, as (distribution, array)."""
    _listeners.append(draws)
    try:
        yield
    finally:
        _listeners.pop()


def _fold(run: Run) -> None:
    """Count a step's calls as one where they are about one state, twice in a batch or one after another, as guidance
    does.
    """
    count = len(run.start)
    times = {len(x) // count for x in run.states}
    if len(times) == 1 and (k := times.pop()) > 1 and all(
        len(x) == k * count and all(np.array_equal(x[:count], part) for part in np.split(x, k)) for x in run.states
    ):  # fmt: skip
        run.states, run.answers = [x[:count] for x in run.states], [x[:count] for x in run.answers]
        run.notes.add(f"every state comes {k} times in a batch")
    m = len(run.asked) // run.S
    if m > 1 and len(run.asked) == m * run.S and all(
        run.asked[i] == run.asked[i - i % m] and np.array_equal(run.states[i], run.states[i - i % m])
        for i in range(len(run.asked))
    ):  # fmt: skip
        run.asked, run.states, run.answers = run.asked[::m], run.states[::m], run.answers[::m]
        run.notes.add(f"it is called {m} times in every step, about one state at one level")


def record(
    f: Callable, network: Network, start: np.ndarray, S: int, eta: float | None, alpha_bar: np.ndarray, seed: int = 0
) -> Run:
    """Run a sampler (or, without an eta, an inversion) and write down what it did."""
    run, first_error = Run(S, eta or 0.0, start), ""
    network.run = run
    x, abar = torch.from_numpy(start.copy()), torch.from_numpy(np.array(alpha_bar))
    for given in (abar, abar.numpy()):
        run.__init__(S, eta or 0.0, start)
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            with quiet(), overhear(run.draws):
                got = array(
                    first_of(f(network, x.clone(), S, given) if eta is None else f(network, x.clone(), S, eta, given))
                )
            if got.shape != start.shape:
                raise ValueError(f"the result has shape {got.shape}, the start {start.shape}")
            run.result, run.error = got, ""
            _fold(run)
            return run
        except Exception as error:
            first_error = one_line(error) if given is abar else first_error
    # what went wrong with the tensor, which is what the contract promises
    run.result, run.error = None, first_error
    return run

"""Models of other libraries as files: diffusers' folders, read and written, and the official DDIM code's.

A folder of diffusers holds ``unet/config.json``, ``unet/diffusion_pytorch_model.safetensors`` and
``scheduler/scheduler_config.json`` (older ones without the folders within), all of which are read and written here
without diffusers. Nothing is ever unpickled but tensors.

:func:`ddim_edu.models.checkpoint.load` reads such files through :func:`read`; ``python -m ddim_edu.export`` writes them
through :func:`write_diffusers`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddim_edu.files import first_line, replacing
from ddim_edu.forward import Prediction
from ddim_edu.models.convert import from_diffusers, from_official, official_config, shift_levels, to_diffusers
from ddim_edu.models.pickles import read_pickle
from ddim_edu.models.weights import KEY, CheckpointError, to_bytes
from ddim_edu.nets.unet import UNetConfig
from ddim_edu.schedule import NoiseSchedule
from ddim_edu.strangers import parse_json, read_json

MOST_LEVELS = 1_000_000  # of noise, as in a recipe
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
OFFICIAL = (".pth", ".pt", ".ckpt")
PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}  # diffusers' word: ours
SPACINGS = ("trailing", "leading", "linspace")  # those of ours that diffusers' DDIMScheduler has
# Schedulers whose configuration is a list of betas. What else it says is about sampling, where the options here are
# one's own.
SCHEDULERS = (
    "DDIM", "DDPM", "PNDM", "DEISMultistep", "DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep",
    "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "LMSDiscrete", "KDPM2Discrete",
    "KDPM2AncestralDiscrete", "DDIMInverse", "DDIMParallel", "DDPMParallel",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Foreign:
    """A model of another library, as one of ours.

    Attributes:
        config: The network's configuration.
        weights: Its weights, in float32, for t in 1..T.
        schedule: The noise schedule.
        prediction: What the network predicts.
        recipe: The recipe it was trained with, where it came from here; otherwise empty.
        step: Number of training steps behind it, 0 where nothing says it.
        recognised: What the file was read as, in one line.
    """

    config: UNetConfig
    weights: dict[str, Tensor]
    schedule: NoiseSchedule
    prediction: Prediction
    recipe: dict[str, Any]
    step: int
    recognised: str


def find_weights(folder: Path) -> Path | None:
    """Where a folder of diffusers keeps the network's weights; None if it is no such folder.

    Raises:
        CheckpointError: If it is one, but the weights are missing.
    """
    for inner in (folder / "unet", folder):
        if (inner / "config.json").is_file():
            for name in WEIGHTS:
                if (inner / name).is_file():
                    return inner / name
            raise CheckpointError(
                f"{inner} holds a config.json, but no {WEIGHTS[0]} (nor .bin) beside it: copy the whole folder"
            )
    if (folder / "model_index.json").is_file():
        raise CheckpointError(
            f"{folder} holds a model_index.json, but no unet/config.json: only a UNet2DModel of diffusers can be read"
        )
    return None


def is_foreign(path: Path) -> bool:
    """Whether a file is another library's, by its name."""
    return path.name in WEIGHTS or path.suffix in OFFICIAL


def read(path: Path, image_size: int | None = None) -> Foreign:
    """Read a model of another library.

    Args:
        path: The file of its weights: one of ``WEIGHTS``, with its configuration beside it, or one that the
            official code saved.
        image_size: Side of the images, for an official file that does not show it.

    Raises:
        CheckpointError: In one line that says what can't be read.
    """
    try:
        return _read_diffusers(path) if path.name in WEIGHTS else _read_official(path, image_size)
    except CheckpointError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        kind = "a model of diffusers" if path.name in WEIGHTS else "a file of the official DDIM code"
        raise CheckpointError(f"{path} can't be read as {kind}: {first_line(error, most=300)}") from None


def write_diffusers(
    folder: Path,
    config: UNetConfig,
    weights: Mapping[str, Tensor],
    schedule: NoiseSchedule,
    *,
    prediction: Prediction = "eps",
    spacing: str = "trailing",
    clip: float | None = 1.0,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a folder that diffusers opens by ``from_pretrained``: ``UNet2DModel``, ``DDIMScheduler``, ``DDIMPipeline``.

    Their levels count from 0: the shift goes into the weights, see :func:`~ddim_edu.models.convert.shift_levels`.

    Args:
        folder: The folder; it is made if it is not there.
        config: The network's configuration.
        weights: Its ``state_dict()``.
        schedule: The noise schedule, which is written as ``trained_betas``.
        prediction: What the network predicts.
        spacing: The scheduler's ``timestep_spacing``, one of ``SPACINGS``.
        clip: The scheduler's ``clip_sample_range``; None for ``clip_sample = False``.
        about: What :func:`read` shall give back as ``recipe`` and ``step``.

    Raises:
        ValueError: In one line, if diffusers has nothing like it.
    """
    if spacing not in SPACINGS:
        raise ValueError(f"spacing = {spacing}: diffusers' DDIMScheduler knows {', '.join(SPACINGS)}")
    arguments, theirs = to_diffusers(config, shift_levels(weights, +1))
    scheduler = {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": schedule.T,
        "trained_betas": schedule.beta[1:].tolist(),
        "prediction_type": {ours: name for name, ours in PREDICTIONS.items()}[prediction],
        "timestep_spacing": spacing,
        "steps_offset": 0,
        "set_alpha_to_one": True,  # the last step ends at the data, alpha_bar = 1
        "clip_sample": clip is not None,
        "clip_sample_range": 1.0 if clip is None else clip,
        "thresholding": False,
        "rescale_betas_zero_snr": False,
    }
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDIMScheduler"]}
    metadata = {"format": "pt", KEY: json.dumps({"kind": "diffusers", **(about or {})})}
    files = {
        "unet/" + WEIGHTS[0]: to_bytes(theirs, metadata),
        "unet/config.json": _text({"_class_name": "UNet2DModel", **arguments}),
        "scheduler/scheduler_config.json": _text(scheduler),
        "model_index.json": _text({"_class_name": "DDIMPipeline", **parts}),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def _text(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _read_diffusers(path: Path) -> Foreign:
    folder = path.parent
    whole = folder.parent if folder.name == "unet" else folder
    if (whole / "model_index.json").is_file():
        more = sorted(
            name
            for name in _json(whole / "model_index.json")
            if not name.startswith("_") and name not in ("unet", "scheduler")
        )
        if more:
            raise CheckpointError(
                f"{whole} holds a pipeline with {', '.join(more)}: only one of a unet and a scheduler can be read"
            )
    theirs = _json(folder / "config.json")
    kind = theirs.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise CheckpointError(f"{folder} holds a {kind}: only a UNet2DModel of diffusers can be read")
    places = [whole / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise CheckpointError(f"{whole} holds no scheduler_config.json, which says what its noise levels are")
    schedule, prediction, betas = _scheduler(_json(found))
    tensors, about = _tensors(path)
    config, state = from_diffusers(theirs, _floats(tensors))
    labels = ""
    if config.classes:
        labels = f"labels 0..{config.classes - 1}, with {config.classes}, the last, as any class; "
    recognised = (
        f"{whole}: recognised as a UNet2DModel of diffusers, {_size(config, state)}, {labels}it predicts {prediction}; "
        f"{betas}, t = 0..{schedule.T - 1} there is 1..{schedule.T} here"
    )
    weights = shift_levels(state, -1)
    return Foreign(config, weights, schedule, prediction, about.get("recipe", {}), about.get("step", 0), recognised)


def _read_official(path: Path, image_size: int | None) -> Foreign:
    saved, _ = _tensors(path)
    config = official_config(saved, image_size)
    state = _floats(from_official(config, saved))
    step = saved[3] if isinstance(saved, list) and len(saved) > 3 else 0
    which = (
        "state dict"
        if isinstance(saved, Mapping)
        else "training state" + (" (its averaged weights)" if len(saved) > 4 else "")
    )
    size = "" if image_size else " (attention taken to be at 16x16; else --image-size)"
    recognised = (
        f"{path}: recognised as a {which} of the official DDIM code, {_size(config, state)}{size}; taken to predict "
        "eps with T = 1000 linear betas from 0.0001 to 0.02, since the file does not say"
    )
    return Foreign(config, shift_levels(state, -1), NoiseSchedule.linear(), "eps", {}, step, recognised)


def _floats(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for name, value in tensors.items():
        if not (isinstance(value, Tensor) and value.is_floating_point()):
            raise ValueError(f"{name} is of type {getattr(value, 'dtype', type(value).__name__)}, and no weight")
    return {name: value.float() for name, value in tensors.items()}


def _size(config: UNetConfig, state: Mapping[str, Tensor]) -> str:
    side = config.image_size
    return f"{sum(value.numel() for value in state.values()):,} parameters for {config.image_channels}x{side}x{side}"


def _scheduler(c: Mapping[str, Any]) -> tuple[NoiseSchedule, Prediction, str]:
    """Schedule, prediction and the betas in words, of a configuration; missing fields have diffusers' defaults."""
    kind = c.get("_class_name", "DDIMScheduler")
    if kind.removesuffix("Scheduler") not in SCHEDULERS:
        raise CheckpointError(
            f"its scheduler is a {kind}: only those with betas can be read, such as DDIMScheduler and DDPMScheduler"
        )
    if c.get("rescale_betas_zero_snr"):
        raise CheckpointError("its scheduler has rescale_betas_zero_snr = True: alpha_bar must stay above 0 here")
    said = c.get("prediction_type", "epsilon")
    if said not in PREDICTIONS:
        raise CheckpointError(
            f"its scheduler has prediction_type = {said!r}: only {', '.join(PREDICTIONS)} can be read"
        )
    T = c.get("num_train_timesteps", 1000)
    if isinstance(T, bool) or not isinstance(T, int) or not 1 <= T <= MOST_LEVELS:
        raise CheckpointError(f"its scheduler has num_train_timesteps = {str(T)[:30]}: give 1 to {MOST_LEVELS:,}")
    if c.get("trained_betas") is not None:
        schedule, words = NoiseSchedule.from_betas(c["trained_betas"]), "trained betas"
    else:
        words = c.get("beta_schedule", "linear")
        ends = {"beta_start": c.get("beta_start", 1e-4), "beta_end": c.get("beta_end", 0.02)}
        make = {
            "linear": lambda: NoiseSchedule.linear(T, **ends),
            "scaled_linear": lambda: NoiseSchedule.scaled_linear(T, **ends),
            "squaredcos_cap_v2": lambda: NoiseSchedule.cosine(T),
        }
        if words not in make:
            raise CheckpointError(
                f"its scheduler has beta_schedule = {words!r}: only {', '.join(make)} and trained_betas can be read"
            )
        schedule = make[words]()
        words = f"{words} betas"
    return schedule, PREDICTIONS[said], f"{schedule.T} levels with {words}"


def _json(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read as JSON ({first_line(error)})") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a configuration of diffusers: it holds no fields")
    return value


def _tensors(path: Path) -> tuple[Any, dict[str, Any]]:
    """What a file of weights holds, and what it says about itself if it came from here."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                about = parse_json((file.metadata() or {}).get(KEY, "{}"))
                return {name: file.get_tensor(name) for name in file.keys()}, about
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} was cut short, or is no file of weights ({first_line(error)})") from None
    try:
        return read_pickle(path), {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read: {first_line(error)}") from None

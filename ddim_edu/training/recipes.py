"""Recipes: everything that decides what a training run makes.

A recipe is a frozen dataclass. The comment above a field is also its text in ``python -m ddim_edu.train --help``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from ddim_edu.nets.unet import UNetConfig
from ddim_edu.ranges import AboveZero, Checked, NotNegative, Positive, Range, Share, fits
from ddim_edu.schedule import NoiseSchedule

Levels = Annotated[int, Range(1, 1_000_000)]  # with more, neighbouring levels would be the same to any network
Batch = Annotated[int, Range(1, 65_536)]
BelowOne = Annotated[float, Range(0, 1, below=True)]
AtLeastZero = Annotated[float, Range(0)]
TAUGHT = ("progressive", "consistency")  # the losses that need a teacher


@dataclass(frozen=True)
class Recipe(Checked):
    """How to train a model: data, noise schedule, network, optimiser, and how often to look.

    Raises:
        ValueError: If a field is out of its range, or two of them do not go together.
    """

    remedies: ClassVar[dict[str, str]] = {"ema": "such as 0.999"}

    # What to train on: digits, fashion-mnist, cifar10, faces, spoken-digits, notes; a folder of images or of wav files;
    # or a source of your own, file:Class.
    data: str = "digits"
    # Train on what this autoencoder makes of the data: the name of one that comes along, or a file. None trains on the
    # data themselves.
    autoencoder: str | None = None
    # What is cut out of each image before it is brought to size: celeba takes the faces as the DDIM paper does; folders
    # only.
    crop: Literal["celeba"] | None = None
    # Largest share of unreadable images to put up with; with 0, any is an error. Folders only.
    max_bad: BelowOne = 0.0
    # What the folders in a folder of images are: parts (train, and test or another name of it) or classes. auto tells
    # by their names, and refuses what can be read both ways; old reads as version 0.1.0 did.
    layout: Literal["auto", "parts", "classes", "old"] = "auto"
    # Mirror every other image left to right, by a coin for each.
    flip: bool = False
    # How the noise grows from level 1 to level T.
    schedule: Literal["linear", "scaled-linear", "cosine"] = "linear"
    # Number of noise levels.
    T: Levels = 1000
    # The network.
    unet: UNetConfig = UNetConfig()
    # Training steps (batches) in all.
    steps: Positive = 800_000
    # Images per step.
    batch: Batch = 128
    # The optimiser; adamw shrinks the weights apart from the gradient.
    optimizer: Literal["adam", "adamw"] = "adam"
    # Weight decay of that optimiser.
    weight_decay: AtLeastZero = 0.0
    # The learning rate, at its highest.
    lr: AboveZero = 2e-4
    # Steps over which the learning rate rises to lr in a straight line.
    warmup: NotNegative = 5000
    # Share of lr that is left at the last step: 1 keeps it constant, less lets it fall along half a cosine.
    lr_final: Share = 1.0
    # Largest norm of the gradient; a longer one is scaled down to it.
    grad_clip: AboveZero = 1.0
    # Decay of the average of the weights that samples are drawn with (lower in the first steps: see parts.py).
    ema: BelowOne = 0.9999
    # Draw noise levels in mirrored pairs t, T+1-t, as the official DDIM code does.
    antithetic: bool = True
    # What the network predicts: the noise (eps, as the papers do), the velocity v of Salimans and Ho (2022), or the
    # data (x0).
    prediction: Literal["eps", "v", "x0"] = "eps"
    # How levels are weighed in the loss: the squared error of what the network predicts, all alike (uniform); that of
    # the noise, whatever it predicts (eps); or min-SNR (Hang et al. 2023) with a cap of 5.
    weighting: Literal["uniform", "eps", "min-snr"] = "uniform"
    # What is minimised: the squared error of the noise, or with chapter 8's adaptive step, as published or as mended.
    # Or, for students, the distance from what a teacher makes: two of its steps in one (progressive), or one answer
    # along each of its paths (consistency).
    loss: Literal["mse", "published", "mended", "progressive", "consistency"] = "mse"
    # A model whose weights a run begins with: a shipped one's name, a run folder or a checkpoint file, of this network,
    # schedule and prediction. None draws them.
    init_from: str | None = None
    # The model that a student learns from: a shipped one's name, a run folder or a checkpoint file.
    teacher: str | None = None
    # Sampling steps of the teacher, for students.
    teacher_steps: Positive = 16
    # Sampling steps that a student of progressive is left with: teacher_steps halved, once or more.
    student_steps: Positive = 1
    # Lambda of the adaptive step: how much complexity counts. By default the source's 0.1 for published, 1 for mended.
    lam: AtLeastZero | None = None
    # Arithmetic of the network: float32, or mixed with bf16 or with fp16 (whose loss is scaled). auto: bf16 on GPUs
    # that have it, and on processors with units for it if a short trial says that it is faster.
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    # Compile the network with torch.compile: a minute or two at the start, faster steps after it. auto: on CUDA, and on
    # CPUs for runs of more than an hour with networks of a million parameters or more.
    compile: Literal["auto", "on", "off"] = "auto"
    # Parts that a process works a batch off in, one after the other: the same step with less memory.
    accumulate: Positive = 1
    # Share of the labels that training hides, so that the network also learns to do without; for networks with classes.
    label_dropout: Share = 0.1
    # Seed of everything random: first weights, order of the images, noise levels, noise, dropout.
    seed: NotNegative = 0
    # Steps between lines of log.csv.
    log_every: Positive = 50
    # Steps between sample grids, each with a look at the held-out loss.
    sample_every: Positive = 5000
    # Steps between checkpoints.
    save_every: Positive = 5000

    def check(self) -> None:
        """Which losses go with which predictions, weightings and lambda."""
        if self.loss in TAUGHT:
            self._check_student()
        elif self.teacher is not None:
            raise ValueError(
                f"teacher = {self.teacher} has no meaning for loss = {self.loss}: choose --loss progressive or "
                "consistency"
            )
        if self.lam is not None and self.loss not in ("published", "mended"):
            raise ValueError(
                f"lam = {self.lam} has no meaning for loss = {self.loss}: choose --loss published or --loss mended"
            )
        if self.prediction != "eps" and self.loss in ("published", "mended"):
            raise ValueError(
                f"loss = {self.loss} weighs the error of predicted noise, and prediction = {self.prediction} is none: "
                "choose --prediction eps, or --loss mse"
            )
        if self.weighting != "uniform" and self.loss != "mse":
            raise ValueError(
                f"weighting = {self.weighting} goes with loss = mse only, not with loss = {self.loss}: choose one"
            )

    def _check_student(self) -> None:
        """Which teacher, predictions and steps a student goes with."""
        if self.teacher is None:
            raise ValueError(f"loss = {self.loss} is of a student: name its --teacher")
        if self.init_from is not None:
            raise ValueError(f"init_from = {self.init_from}: a student begins with the weights of its --teacher")
        if self.prediction == "eps":
            raise ValueError(
                "prediction = eps: a student's first step begins in pure noise, where predicted noise says nothing of "
                "the data; choose v or x0, and a teacher that predicts it"
            )
        if self.teacher_steps > self.T:
            raise ValueError(f"teacher_steps = {self.teacher_steps}: give at most T = {self.T}")
        times, rest = divmod(self.teacher_steps, self.student_steps)
        if self.loss == "progressive" and (rest or times < 2 or times & (times - 1)):
            raise ValueError(
                f"teacher_steps = {self.teacher_steps} can't be halved to student_steps = {self.student_steps}: give "
                "16 and 1, or the like"
            )
        if self.loss == "consistency" and (self.student_steps != 1 or self.teacher_steps < 2):
            raise ValueError("loss = consistency goes with student_steps = 1, and teacher_steps of 2 or more")

    def noise_schedule(self) -> NoiseSchedule:
        """The schedule that the recipe names."""
        make = {
            "linear": NoiseSchedule.linear,
            "scaled-linear": NoiseSchedule.scaled_linear,
            "cosine": NoiseSchedule.cosine,
        }
        return make[self.schedule](self.T)

    def lr_at(self, step: int) -> float:
        """The learning rate of step 0, 1, ..., ``steps - 1``.

        Equations: eq:learning-rate
        """
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        return self.lr * rise * (self.lr_final + (1 - self.lr_final) * fall)


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values for JSON."""
    return asdict(recipe)


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Undo :func:`recipe_to_dict`.

    Raises:
        ValueError: If a field is unknown or out of range.
    """
    unet = values.get("unet", {}) if isinstance(values, Mapping) else None
    if not isinstance(unet, Mapping):
        raise ValueError("the recipe is none")
    for cls, found in ((Recipe, values), (UNetConfig, unet)):
        hints = get_type_hints(cls, include_extras=True)
        unknown = sorted({str(name)[:50] for name in found} - hints.keys())
        if unknown:
            raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}: it was written by another version")
        for name, value in found.items():
            if name != "unet" and not fits(value, hints[name]):
                raise ValueError(f"{name} = {str(value)[:50]!r}: a value of the wrong type")
    return Recipe(**{**values, "unet": UNetConfig(**unet)})


def changes(old: Recipe, new: Recipe) -> list[str]:
    """What differs between two recipes, a field each: ``"lr 0.004 -> 0.001"``."""

    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in values.items():
            found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        return found

    before, after = flat(recipe_to_dict(old)), flat(recipe_to_dict(new))
    return [f"{name} {before[name]} -> {value}" for name, value in after.items() if before[name] != value]


# What the recipes for an evening on a laptop share.
_LAPTOP = Recipe(
    schedule="cosine",
    unet=UNetConfig(ch_mult=(1, 2, 4), num_res_blocks=1, attn_resolutions=(), dropout=0.0, groups=8, classes=10),
    label_dropout=0.2,
    batch=64,
    lr=2e-3,
    warmup=200,
    lr_final=0.0,
    ema=0.998,
    log_every=25,
    sample_every=500,
    save_every=250,
)

_FACES = replace(
    _LAPTOP,
    data="faces",
    prediction="v",
    unet=UNetConfig(
        image_size=32,
        ch=48,
        ch_mult=(1, 2, 3),
        num_res_blocks=1,
        attn_resolutions=(8,),
        dropout=0.0,
        groups=16,
        classes=4,
    ),
    label_dropout=0.1,
    steps=2500,
)

RECIPES: dict[str, Recipe] = {
    # Less than two minutes on two CPU cores. The choices are those that made the most readable digits in that time: the
    # linear schedule spends a third of its levels where nothing is left to be seen of 8x8 pixels, and attention at 4x4
    # is worth less than more steps. Predicting v, 97% of DDIM's digits in 20 steps are read as what was asked for;
    # predicting eps, 92%.
    "digits": Recipe(
        data="digits",
        schedule="cosine",
        prediction="v",
        unet=UNetConfig(
            image_size=8,
            image_channels=1,
            ch=32,
            ch_mult=(1, 1),
            num_res_blocks=1,
            attn_resolutions=(),  # in the middle only
            dropout=0.0,
            groups=8,
            classes=10,
        ),
        label_dropout=0.2,
        steps=1500,
        batch=64,
        lr=4e-3,
        warmup=50,
        lr_final=0.0,
        ema=0.995,
        log_every=10,
        sample_every=300,
        save_every=300,
    ),
    # The full resolution is where the time goes, so it has few channels; the coarser levels hold most of the weights.
    "fashion-mnist": replace(
        _LAPTOP,
        data="fashion-mnist",
        unet=replace(_LAPTOP.unet, image_size=28, image_channels=1, ch=24),
        steps=8000,
    ),
    # Colour on a laptop: 16x16 pixels, so that two CPU cores see each image several times in an hour.
    "cifar10-tiny": replace(
        _LAPTOP,
        data="cifar10",
        flip=True,
        unet=replace(_LAPTOP.unet, image_size=16, image_channels=3, ch=32),
        steps=15_000,
    ),
    # Drawn faces, three quarters of an hour on two cores: of low entropy, so that one can watch them come into being.
    "faces": _FACES,
    # The same at 64x64, a night on two cores.
    "faces-64": replace(
        _FACES,
        unet=replace(_FACES.unet, image_size=64, ch=32, ch_mult=(1, 2, 3, 4)),
        steps=40_000,
        batch=32,
        lr=1e-3,
        warmup=500,
        ema=0.9995,
    ),
    # CIFAR-10 on two cores. The sources' network without its finest level: two by two pixels become channels in its
    # place, and attention works on 8 x 8, so that a step takes .41 of the time. Dropout is left out: no image is seen
    # often.
    "cifar10": replace(
        _LAPTOP,
        data="cifar10",
        flip=True,
        prediction="v",
        unet=UNetConfig(ch=128, ch_mult=(1, 1, 1), attn_resolutions=(8,), dropout=0.0, classes=10, patch=2),
        label_dropout=0.1,
        steps=36_000,
        lr=1e-3,
        warmup=500,
        ema=0.9995,
    ),
    # Sound on a laptop: log-mel spectrograms of 64 x 64, in the latent space of an autoencoder. The classes are pairs
    # of word and speaker.
    "spoken-digits": replace(
        _LAPTOP,
        data="spoken-digits",
        autoencoder="spoken-digits",
        unet=replace(_LAPTOP.unet, image_size=8, image_channels=8, ch=32, ch_mult=(1, 1), classes=60),
        steps=5000,
        label_dropout=0.1,
        lr=4e-3,
        warmup=100,
        ema=0.995,
        log_every=10,
        save_every=100,
    ),
    # Notes, as the spoken digits: the classes are pairs of instrument and pitch. A quarter of an hour of one core.
    "notes": replace(
        _LAPTOP,
        data="notes",
        autoencoder="notes",
        prediction="v",
        unet=replace(_LAPTOP.unet, image_size=8, image_channels=8, ch=48, ch_mult=(1, 1), classes=225),
        steps=8000,
        label_dropout=0.1,
        lr=3e-3,
        warmup=100,
        ema=0.995,
        log_every=10,
        sample_every=1500,
        save_every=100,
    ),
    # The sources' model with 64 channels, trained as DDPM's with 128.
    "cifar10-64": Recipe(data="cifar10", flip=True, unet=UNetConfig(ch=64, ch_mult=(1, 2, 2, 2))),
    # The paper's model for CIFAR-10; the defaults of Recipe and UNetConfig are its settings.
    "cifar10-128": Recipe(data="cifar10", flip=True, unet=UNetConfig(ch=128, ch_mult=(1, 2, 2, 2))),
    # The paper's model for CelebA: the aligned images (178 x 218) in a folder, cropped as the paper does.
    "celeba-64": Recipe(
        data="data/celeba",
        crop="celeba",
        flip=True,
        unet=UNetConfig(image_size=64, ch=128, ch_mult=(1, 2, 2, 2, 4)),
        steps=500_000,
    ),
    # DDPM's model for CelebA-HQ: 30,000 faces of 256 x 256 pixels in a folder.
    "celeba-hq-256": Recipe(
        data="data/celeba-hq",
        flip=True,
        unet=UNetConfig(image_size=256, ch=128, ch_mult=(1, 1, 2, 2, 4, 4), dropout=0.0),
        steps=500_000,
        batch=64,
        lr=2e-5,
    ),
}
# The sources' revision: the same models with the loss that it adds, which is one of predicted noise; --loss mended or
# mse for the others.
RECIPES |= {
    f"{name}-adaptive": replace(RECIPES[name], loss="published", prediction="eps")
    for name in ("digits", "fashion-mnist", "cifar10-64")
}
# Students, which make a picture in one call or two. They begin with the weights of a teacher that predicts v, and train
# for ten minutes of one core (digits), or an hour and a half (fashion-mnist).
_DISTILL: dict[str, Any] = {"loss": "progressive", "teacher_steps": 16, "warmup": 0}
RECIPES["digits-distill"] = replace(
    RECIPES["digits"], teacher="digits-v", **_DISTILL, steps=3000, lr=1e-3, ema=0.99, log_every=20, sample_every=600
)
RECIPES["digits-consistency"] = replace(RECIPES["digits-distill"], loss="consistency")
RECIPES["fashion-mnist-distill"] = replace(
    RECIPES["fashion-mnist"],
    teacher="fashion-mnist-v",
    prediction="v",
    **_DISTILL,
    student_steps=2,
    steps=8000,
    batch=32,
    lr=5e-4,
    ema=0.99,
)

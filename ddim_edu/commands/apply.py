"""The applications as a command: ``python -m ddim_edu.apps {interpolate,reconstruct,inpaint,upscale,colourise,edit}
RUN_OR_CHECKPOINT --images FILES --out FILE.png``. For sounds: :mod:`ddim_edu.commands.sound`.

Images in, one picture out: a row for the input, one for what is left of it where something is taken away, and rows of
answers. Without ``--images`` the command takes images that the model was not trained on. Exit codes: 0 done; 2 called
wrongly (one line on stderr says what); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ddim_edu.apps.edit import first_steps, renoise, translate
from ddim_edu.apps.interpolate import lerp, slerp, square, triangle
from ddim_edu.apps.operators import AveragePool, Grey, Mask, Operator
from ddim_edu.apps.restore import replace_known, restore
from ddim_edu.commands import sound
from ddim_edu.commands.options import closest, distinct, fail, parse, run
from ddim_edu.data.decoding import read_image
from ddim_edu.data.pictures import check_picture, from_uint8, save_grid, to_uint8
from ddim_edu.data.registry import trained_on
from ddim_edu.files import check_writable, replacing
from ddim_edu.forward import EpsTheta
from ddim_edu.guidance import guided
from ddim_edu.measuring.metrics import psnr, reconstruction_error
from ddim_edu.measuring.reference import reference_images
from ddim_edu.models import Checkpoint, load
from ddim_edu.processes import pick_device
from ddim_edu.randomness import Stream, draw, generator_for
from ddim_edu.sampler import ddim_path, decode, invert
from ddim_edu.schedule import check_eta, make_tau

PROG = "python -m ddim_edu.apps"
SIDES = ("left", "right", "top", "bottom", "centre", "random")

Spacing = Literal["leading", "linspace", "trailing", "quadratic", "quadratic-full"]
Clip = float | Literal["off"]
Checkpoint_ = Annotated[
    tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_OR_CHECKPOINT", help_behavior_hint="(required)")
]


@dataclasses.dataclass(frozen=True)
class Common:
    """What all commands take."""

    # A run folder, a checkpoint file, or the name of a shipped model.
    checkpoint: Checkpoint_ = ""
    # Image files. Of another size than the model's, their central square is resized; colours are made grey where the
    # model is.
    images: tuple[Path, ...] = ()
    # Without --images: how many of those that the model's data set holds out. 0 takes 8, or as many as are needed.
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 0
    # The picture to write; its ending says the format.
    out: Path = Path("result.png")
    # Number of sampling steps S.
    steps: int = 50
    # Which levels the steps visit.
    spacing: Spacing = "trailing"
    # The highest level to use. 0 takes 99 hundredths of T, and 90 where images are encoded: the last levels of the
    # cosine schedule multiply a network's error.
    top: int = 0
    # Keep the predicted image within [-clip, clip] on the way down; "off" lets it go where it goes.
    clip: Clip = 1.0
    # Noise is a function of the seed, the image's number and the answer's.
    seed: int = 0
    # Images in the network at a time.
    batch: int = 256
    # Without --images: what the model was trained on, a folder or file:Class; by default what the checkpoint says, if
    # that lies where it lay.
    data: str | None = None
    # Where data sets lie, or are downloaded to; $DDIM_EDU_DATA, or else the folder data, if not given.
    data_dir: Path | None = None
    # What to compute on: auto, cpu, cuda, cuda:1, mps.
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.n < 0 or self.batch < 1:
            raise ValueError(
                f"n = {self.n}, batch = {self.batch}: give a number of images, n = 0 for as many as are needed"
            )
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed}: give at least 0")
        if self.clip != "off" and not self.clip > 0:
            raise ValueError(f"clip = {self.clip}: give a positive number, such as 1, or off")

    @property
    def encodes(self) -> bool:
        """Whether images go up by inversion, so that the errors made there matter."""
        return False


@dataclasses.dataclass(frozen=True)
class OfClass(Common):
    """What the commands take that treat all images alike."""

    # For models that know classes: the class that the images are of, or any.
    label: int | Literal["any"] = "any"


@dataclasses.dataclass(frozen=True)
class InterpolateOptions(OfClass):
    """Images between two, three or four: their latents are found by inversion, points between these decoded."""

    # 2: the images are taken in pairs, a row of frames for each. 3 or 4: a triangle or a square of frames.
    corners: Literal[2, 3, 4] = 2
    # Frames from one image to the next, both ends included; an odd number has one in the middle.
    frames: int = 5
    # Along the arc between the latents or the straight line. The line leaves the norm that latents have (pairs only).
    along: Literal["slerp", "lerp"] = "slerp"
    # Between latents drawn from the standard normal, not those of images.
    from_noise: bool = False
    # Write the frames of the first pair as a short film too, there and back: a .gif or .webp file.
    film: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames < 2:
            raise ValueError(f"frames = {self.frames}: give at least 2, the ends")
        if self.corners != 2 and (self.along == "lerp" or self.film is not None):
            raise ValueError(
                f"corners = {self.corners} goes along arcs, and into a picture: --along lerp and --film are for pairs"
            )
        if self.from_noise and self.images:
            raise ValueError("--from-noise draws its latents: leave out --images")

    @property
    def encodes(self) -> bool:
        """As in :class:`Common`."""
        return not self.from_noise


@dataclasses.dataclass(frozen=True)
class ReconstructOptions(OfClass):
    """Encode images as x_T, by the deterministic sampler run backwards, and decode them again."""

    # Off, unlike elsewhere: what inversion encodes is the path of the network as it is.
    clip: Clip = "off"

    @property
    def encodes(self) -> bool:
        """As in :class:`Common`."""
        return True


@dataclasses.dataclass(frozen=True)
class RestoreOptions(OfClass):
    """What the three restorations take."""

    # Answers to each image, by different noise.
    answers: int = 1
    # 0 is DDIM (deterministic but for x_T), 1 is DDPM.
    eta: float = 1.0
    # Time travel: how often each stretch of steps is walked; 1 is none. It multiplies the network calls.
    travel: int = 2
    # Steps in a stretch.
    jump: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.answers < 1 or self.travel < 1 or self.jump < 1:
            raise ValueError(
                f"answers = {self.answers}, travel = {self.travel}, jump = {self.jump}: give at least 1 of each"
            )
        check_eta(self.eta)


@dataclasses.dataclass(frozen=True)
class InpaintOptions(RestoreOptions):
    """Fill in what a mask takes away."""

    # left, right, top, bottom (that half is taken away), centre (the middle square), random (three pixels of four); or
    # an image file of the model's size that is white where pixels are to be filled in and black where they are known.
    mask: str = "centre"
    # The simple method instead: noisy known pixels replace the sampled ones at each level; no time travel.
    replace: bool = False


@dataclasses.dataclass(frozen=True)
class UpscaleOptions(RestoreOptions):
    """Super-resolution: the mean over squares of pixels is given. Files of just that small size are taken as what is
    given.
    """

    # How many times smaller the given images are, in width and height.
    factor: int = 2


@dataclasses.dataclass(frozen=True)
class ColouriseOptions(RestoreOptions):
    """Find colours for grey images (their luma, as in ITU-R BT.601); for models of colour images."""


@dataclasses.dataclass(frozen=True)
class EditOptions(Common):
    """Make images into those of another class, or of another model."""

    # The classes to make, a row for each. If none is named, one row with all classes in turn: 0 from the first image,
    # and so on.
    target: tuple[int, ...] = ()
    # noise: noise the image part of the way and denoise it. invert: part of the way by the deterministic sampler, and
    # back.
    by: Literal["noise", "invert"] = "invert"
    # How far up, from 0 (nothing changes) to 1 (all the way); auto is 0.6 by noise, and 1 by inversion, whose latents
    # keep much.
    strength: float | Literal["auto"] = "auto"
    # The class that the images are of, or any; for --by invert.
    source: int | Literal["any"] = "any"
    # Classifier-free guidance on the way down: 0 ignores the class, 1 takes it as trained, more presses it.
    scale: float = 2.0
    # Another model, for images of the same shape, that decodes: style transfer.
    decoder: str = ""

    @property
    def encodes(self) -> bool:
        """As in :class:`Common`."""
        return self.by == "invert"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The words after ``python -m ddim_edu.apps``; those of the process if None.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words.pop(0) if words and not words[0].startswith("-") else None
    if name == "sound":
        return sound.main(words)
    if name is None and {"-h", "--help"} & set(words):
        print(
            f"usage: {PROG} {{{','.join(COMMANDS)},sound}} ...\n\n{__doc__}\nTheir options: {PROG} inpaint --help, and so on."
        )
        return 0
    if name not in COMMANDS:
        what = (
            f"there is no application {name!r}{closest(name, [*COMMANDS, 'sound'])}" if name else "which application?"
        )
        return fail(f"{what} (known: {', '.join(COMMANDS)}, sound)")
    default, application = COMMANDS[name]
    try:
        options = parse(default, words, prog=f"{PROG} {name}", description=type(default).__doc__ or "")
        if not options.checkpoint:
            raise ValueError(f"which model? name a run folder or a checkpoint: {PROG} {name} digits")
        check_picture(options.out)
        mask = getattr(options, "mask", None)
        distinct([options.out, getattr(options, "film", None)], [*options.images, Path(mask) if mask else None])
        model = load(options.checkpoint, pick_device(options.device)).of_pictures()
        began = time.perf_counter()
        said = application(model, options)
    except (ValueError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return 130
    print(f"{options.out}: {said}; S = {options.steps}, {time.perf_counter() - began:.1f} s")
    return 0


def interpolate(model: Checkpoint, options: InterpolateOptions) -> str:
    """Frames between images, or between latents that were drawn.

    Returns:
        What was done, for the last line.

    Raises:
        ValueError: One line, for what can't be done so.
    """
    tau, clip, corners, frames = levels(model, options), bound(options.clip), options.corners, options.frames
    label = checked(model, options.label)
    if options.film is not None:
        if options.film.suffix.lower() not in (".gif", ".webp"):
            raise ValueError(f"{options.film} does not end like a film: use .gif or .webp")
        check_writable(options.film)
    wanted = options.n or (8 if corners == 2 else corners)
    given = len(options.images) or wanted
    if given % 2 if corners == 2 else given != corners:
        raise ValueError(
            f"{given} images: give {'an even number, for pairs' if corners == 2 else f'{corners}, the corners'}"
        )
    if options.from_noise:
        images, like = None, torch.empty(wanted, *model.image_shape)
    else:
        images = like = pictures(model, options, wanted)
    rows = len(like) // 2
    with Bar((1 + (images is not None)) * options.steps) as bar:
        eps_theta = network(model, label, options.batch, bar)
        if images is None:
            latents = draw(like, generators(options.seed, len(like))).to(device_of(model))
        else:
            latents = invert(eps_theta, images.to(device_of(model)), model.schedule, tau)
        if corners == 2:
            go = slerp if options.along == "slerp" else lerp
            points = torch.stack(
                [go(latents[0::2], latents[1::2], i / (frames - 1)) for i in range(frames)], 1
            )  # (rows, frames, C, H, W)
        else:
            points = (square if corners == 4 else triangle)(*latents, frames)
        found = decode(eps_theta, points.reshape(-1, *model.image_shape), model.schedule, tau, clip=clip).cpu()
    if corners == 2:
        found = found.unflatten(0, (rows, frames))
        shown = found if images is None else torch.cat([images[0::2, None], found, images[1::2, None]], 1)
        save_grid(shown.flatten(0, 1), options.out, columns=shown.shape[1])
        if options.film is not None:
            save_film(found[0], options.film)
        ends = "" if images is None else ", the real images at both ends"
        return f"{rows} rows of {frames} frames along the {'arc' if options.along == 'slerp' else 'line'}{ends}"
    if corners == 3:  # row i of the triangle has i + 1 frames; the rest is left empty
        places = torch.full((frames * frames, *model.image_shape), -0.4)
        where = torch.tril_indices(frames, frames)
        places[where[0] * frames + where[1]] = found
        found = places
    save_grid(found, options.out, columns=frames)
    return f"{'a square' if corners == 4 else 'a triangle'} of {frames} frames a side"


def reconstruct(model: Checkpoint, options: ReconstructOptions) -> str:
    """Images, their latents, and what these decode to; arguments and errors as for :func:`interpolate`."""
    tau, label = levels(model, options), checked(model, options.label)
    images = pictures(model, options)
    with Bar(2 * options.steps) as bar:
        eps_theta = network(model, label, options.batch, bar)
        latents = invert(eps_theta, images.to(device_of(model)), model.schedule, tau)
        found = decode(eps_theta, latents, model.schedule, tau, clip=bound(options.clip)).cpu()
    save_grid(torch.cat([images, latents.cpu() / 2, found]), options.out, columns=len(images))
    error = reconstruction_error(found, images)
    return (
        f"rows: {len(images)} images, their latents (half their contrast), reconstructions; squared error per dimension in [0, 1] "
        f"{error.mean():.2g} (largest {error.max():.2g})"
    )


def inpaint(model: Checkpoint, options: InpaintOptions) -> str:
    """Fill in what a mask takes away; arguments and errors as for :func:`interpolate`."""
    operator = Mask(~missing_of(model, options.mask, options.seed).to(device_of(model)))
    levels(model, options)
    return _restore(model, options, operator, pictures(model, options), naive=options.replace)


def upscale(model: Checkpoint, options: UpscaleOptions) -> str:
    """Super-resolution; arguments and errors as for :func:`interpolate`."""
    operator, size = AveragePool(options.factor), model.config.image_size
    if size % options.factor:
        known = [f for f in range(2, size + 1) if size % f == 0]
        raise ValueError(
            f"factor = {options.factor} does not divide the model's {size} pixels: give one of {', '.join(map(str, known))}"
        )
    levels(model, options)
    small = size // options.factor
    if options.images and {size_of(path) for path in options.images} == {(small, small)}:
        print(f"images of {small} x {small} pixels: taken as what is given, to be enlarged", file=sys.stderr)
        return _restore(model, options, operator, None, read_files(options.images, small, model.config.image_channels))
    images = pictures(model, options)
    return _restore(model, options, operator, images)


def colourise(model: Checkpoint, options: ColouriseOptions) -> str:
    """Colours for grey images; arguments and errors as for :func:`interpolate`."""
    if model.config.image_channels != 3:
        raise ValueError(
            f"{options.checkpoint} makes grey images: colourise needs a model of colour images, such as cifar10-tiny"
        )
    levels(model, options)
    return _restore(model, options, Grey(), pictures(model, options))


def edit(model: Checkpoint, options: EditOptions) -> str:
    """Images made into those of another class or model; arguments and errors as for :func:`interpolate`."""
    tau = levels(model, options)
    strength = options.strength if options.strength != "auto" else 1.0 if options.encodes else 0.6
    steps = len(first_steps(tau, strength)) - 1
    source = checked(model, options.source)
    if options.decoder:
        other = load(options.decoder, device_of(model))
        if options.target and not other.config.classes:
            raise ValueError(f"{options.decoder} knows no classes: leave out --target")
        if other.image_shape != model.image_shape:
            raise ValueError(
                f"{options.decoder} makes images of {shape_text(other)}, and {options.checkpoint} of {shape_text(model)}"
            )
        if other.schedule.T != model.schedule.T:
            raise ValueError(
                f"{options.decoder} has T = {other.schedule.T}, and {options.checkpoint} T = {model.schedule.T}"
            )
    else:
        other = model
        if not model.config.classes:
            raise ValueError(
                f"{options.checkpoint} knows no classes: an edit needs a class to go to, or another model to --decoder"
            )
    guided(model.model, model.model, options.scale)  # checks the scale
    targets = [checked(other, label) for label in options.target]
    images = pictures(model, options)
    n, rows, device = len(images), len(targets) or 1, device_of(model)
    labels = None
    if other.config.classes:
        labels = torch.tensor(targets).repeat_interleave(n) if targets else torch.arange(n) % other.config.classes
        labels = labels.to(device)
    x_0, clip = images.to(device).repeat(rows, 1, 1, 1), bound(options.clip)
    calls = (options.by == "invert") + (2 if labels is not None and options.scale not in (0, 1) else 1)
    with Bar(calls * steps) as bar:
        down = network(other, None, options.batch, bar)
        if labels is not None:
            down = guided(network(other, labels, options.batch, bar), down, options.scale)
        if options.by == "noise":
            noise = [g for _ in range(rows) for g in generators(options.seed, n)]  # the same for each class
            found = renoise(down, x_0, other.schedule, tau, strength, generator=noise, clip=clip)
        else:
            up = network(model, source, options.batch, bar)
            found = translate(up, down, x_0, model.schedule, tau, strength, decoder_schedule=other.schedule, clip=clip)
    save_grid(torch.cat([images, found.cpu()]), options.out, columns=n)
    what = f"class {', '.join(map(str, targets))}" if targets else "any class" if labels is None else "classes in turn"
    return f"rows: {n} images, then {what}; by {options.by}, strength {strength:g}, scale {options.scale:g}"


COMMANDS: dict[str, tuple[Common, Callable[..., str]]] = {
    "interpolate": (InterpolateOptions(), interpolate),
    "reconstruct": (ReconstructOptions(), reconstruct),
    "inpaint": (InpaintOptions(), inpaint),
    "upscale": (UpscaleOptions(), upscale),
    "colourise": (ColouriseOptions(), colourise),
    "edit": (EditOptions(), edit),
}


def _restore(
    model: Checkpoint,
    options: RestoreOptions,
    operator: Operator,
    images: Tensor | None,
    y: Tensor | None = None,
    *,
    naive: bool = False,
) -> str:
    """Take away, restore, write the picture; ``y`` where only that is known."""
    tau, label, clip = levels(model, options), checked(model, options.label), bound(options.clip)
    if images is not None:
        y = operator.forward(images.to(device_of(model)))
    y = y.to(device_of(model))
    n, k = len(y), options.answers
    many = y.repeat(k, *[1] * (y.ndim - 1))  # all first answers, then all second ones
    noise = generators(options.seed, n, k)
    ddim_path(model.model, y, model.schedule, tau, eta=options.eta)  # checks that eta fits; takes no step
    with Bar(options.steps * (1 if naive else options.travel)) as bar:
        eps_theta = network(model, label, options.batch, bar)
        if naive:
            found = replace_known(
                eps_theta, operator, many, model.schedule, tau, eta=options.eta, generator=noise, clip=clip
            )
        else:
            how = {"eta": options.eta, "travel": options.travel, "jump": options.jump, "clip": clip}
            found = restore(eps_theta, operator, many, model.schedule, tau, generator=noise, **how)
    off = (operator.forward(found) - many).abs().max().item()
    found, degraded = found.cpu(), operator.show(y).cpu()
    rows = [degraded, found] if images is None else [images, degraded, found]
    save_grid(torch.cat(rows), options.out, columns=n)
    said = f"rows: {n} images, " if images is not None else f"rows of {n}: "
    said += f"what is given of them, {k} answer{'s' if k > 1 else ''}; off what is given by at most {off:.1g}"
    if images is not None:
        said += f", PSNR {psnr(found.clamp(-1, 1), images.repeat(k, 1, 1, 1)).mean():.1f} dB"
    return said


# ---- what all of them need


class Bar:
    """A progress bar over network calls; on a terminal only."""

    def __init__(self, calls: int) -> None:
        self.tick: Callable[[], object] = lambda: None
        self._calls = calls

    def __enter__(self) -> Bar:
        self._bar = tqdm(total=self._calls, unit="step", disable=None, leave=False)
        self.tick = self._bar.update
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def network(model: Checkpoint, labels: Tensor | int | None, batch: int, bar: Bar) -> EpsTheta:
    """The model under some classes, for any number of images: ``batch`` of them at a time; the bar ticks at each call.

    Args:
        model: The model.
        labels: One for all, or one for each of the images to come, or None.
        batch: Images in the network at a time.
        bar: To tick.
    """

    def eps_theta(x_t: Tensor, t: Tensor) -> Tensor:
        each = [labels] * len(x_t.split(batch)) if not isinstance(labels, Tensor) else labels.split(batch)
        parts = [
            model.eps_theta(label)(x, level)
            for x, level, label in zip(x_t.split(batch), t.split(batch), each, strict=True)
        ]
        bar.tick()
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    return eps_theta


def levels(model: Checkpoint, options: Common) -> Tensor:
    """The levels tau of the options.

    Raises:
        ValueError: If the model has not so many.
    """
    T = model.schedule.T
    # Where images are encoded, 90 hundredths: on the shipped Fashion-MNIST model the error of a round trip of 50 steps
    # is a ninth of that with 99. Where the start is pure noise that would be too low: the images hold 15% of their
    # signal there.
    top = options.top or T - (T // 10 if options.encodes else T // 100)
    if not 1 <= top <= T:
        raise ValueError(f"top = {top}: give a level in 1..{T}")
    if options.steps > top:
        raise ValueError(f"steps = {options.steps}: below the level top = {top} there are at most {top}")
    return make_tau(top, options.steps, options.spacing)


def bound(clip: Clip) -> float | None:
    """The clip of the sampler."""
    return None if clip == "off" else clip


def checked(model: Checkpoint, label: int | str) -> int | None:
    """A label, after a check that the model knows it; None is any class.

    Raises:
        ValueError: If it doesn't.
    """
    if label == "any":
        return None
    if not 0 <= label < model.config.classes:
        known = f"classes 0..{model.config.classes - 1}" if model.config.classes else "no classes"
        raise ValueError(f"there is no class {label}: {model.path.stem} knows {known}")
    return int(label)


def generators(seed: int, images: int, answers: int = 1) -> list[torch.Generator]:
    """A generator for each image of each answer: all first answers, then all second ones, and so on."""
    return [generator_for(seed, Stream.APPLY, i, k) for k in range(answers) for i in range(images)]


def device_of(model: Checkpoint) -> torch.device:
    """Where the model computes."""
    return next(model.model.parameters()).device


def shape_text(model: Checkpoint) -> str:
    """Such as "8 x 8 pixels in grey"."""
    config = model.config
    return f"{config.image_size} x {config.image_size} pixels in {'grey' if config.image_channels == 1 else 'colour'}"


def pictures(model: Checkpoint, options: Common, wanted: int = 8) -> Tensor:
    """The images of the options: files, or some of those held out, the same for a seed.

    Returns:
        ``(N, C, H, W)`` in [-1, 1], on the CPU.

    Raises:
        ValueError: If they can't be had.
    """
    if options.images:
        return read_files(options.images, model.config.image_size, model.config.image_channels)
    held = reference_images(
        model, "test", options.data_dir, options.data or trained_on(model, "name images with --images, or --data")
    )
    wanted = options.n or wanted
    if wanted > len(held):
        raise ValueError(f"n = {wanted}: {model.recipe['data']} holds out {len(held):,} images")
    chosen = torch.randperm(len(held), generator=generator_for(options.seed, Stream.APPLY))[:wanted]
    return from_uint8(held[chosen])


def read_files(paths: Sequence[Path], size: int, channels: int) -> Tensor:
    """Image files as a model takes them; a line on stderr says what was changed.

    Returns:
        ``(N, channels, size, size)`` in [-1, 1].

    Raises:
        ValueError: If a file can't be read.
    """
    found, resized, grey = [], [], []
    for path in paths:
        width, height = size_of(path)
        try:
            found.append(torch.tensor(read_image(path, size=size, channels=channels)))
            with Image.open(path) as image:
                colour = image.mode not in ("1", "L", "LA", "I", "F") and not image.mode.startswith("I;")
        except Exception as error:  # Pillow raises nearly anything on damaged files
            raise unreadable(path, error) from None
        if (width, height) != (size, size):
            resized.append(f"{path} was {width} x {height}")
        if colour and channels == 1 and not is_grey(path):
            grey.append(str(path))
    for those, what in (
        (resized, f"central squares resized to the model's {size} x {size}"),
        (grey, "colours made grey (luma)"),
    ):
        if those:
            print(
                f"{len(those)} of {len(paths)} images: {what} ({those[0]}{', ...' if len(those) > 1 else ''})",
                file=sys.stderr,
            )
    return from_uint8(torch.stack(found))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image file.

    Raises:
        ValueError: If it can't be read.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except Exception as error:  # as above
        raise unreadable(path, error) from None


def is_grey(path: Path) -> bool:
    """Whether an image file of colours holds none: three equal channels."""
    with Image.open(path) as image:
        red, green, blue = image.convert("RGB").split()
        return red.tobytes() == green.tobytes() == blue.tobytes()


def unreadable(path: Path, error: Exception) -> ValueError:
    """What to say of a file that can't be read."""
    if isinstance(error, FileNotFoundError):
        return ValueError(f"there is no file {path}")
    if type(error).__name__ == "UnidentifiedImageError":
        return ValueError(f"{path} is not an image that Pillow knows")
    reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
    return ValueError(f"can't read {path} ({reason})")


def missing_of(model: Checkpoint, mask: str, seed: int) -> Tensor:
    """Which pixels a mask takes away: ``(H, W)`` bool.

    Raises:
        ValueError: If it is of another size than the model's images, or takes away nothing or everything.
    """
    size = model.config.image_size
    missing = torch.zeros(size, size, dtype=torch.bool)
    half, quarter = size // 2, size // 4
    if mask == "random":
        missing = torch.rand(size, size, generator=generator_for(seed, Stream.MASK)) < 0.75
    elif mask in SIDES:
        rows, columns = {
            "left": (slice(None), slice(half)),
            "right": (slice(None), slice(half, None)),
            "top": (slice(half), slice(None)),
            "bottom": (slice(half, None), slice(None)),
            "centre": (slice(quarter, size - quarter), slice(quarter, size - quarter)),
        }[mask]
        missing[rows, columns] = True
    else:
        path = Path(mask)
        if not path.exists():
            raise ValueError(f"there is no mask {mask}: name an image file, or one of {', '.join(SIDES)}")
        if size_of(path) != (size, size):
            width, height = size_of(path)
            raise ValueError(
                f"the mask {mask} has {width} x {height} pixels: make it {size} x {size}, as the model's images are"
            )
        try:
            missing = torch.tensor(read_image(path, size=size, channels=1))[0] > 127
        except Exception as error:  # as above
            raise unreadable(path, error) from None
    if not missing.any():
        raise ValueError(f"the mask {mask} takes away nothing: make white what is to be filled in")
    if missing.all():
        raise ValueError(f"the mask {mask} takes away everything: make black what is known")
    return missing


def save_film(frames: Tensor, path: Path) -> None:
    """Frames as a film, there and back, without end.

    Args:
        frames: ``(N, C, H, W)`` in [-1, 1].
        path: A .gif or .webp file.
    """
    factor = max(1, 224 // frames.shape[-1])
    pixels = torch.nn.functional.interpolate(frames, scale_factor=factor, mode="bicubic")
    pixels = to_uint8(pixels).permute(0, 2, 3, 1).squeeze(-1)
    shown = [Image.fromarray(frame.numpy()) for frame in [*pixels, *pixels[1:-1].flip(0)]]
    with replacing(path) as temporary:
        shown[0].save(temporary, save_all=True, append_images=shown[1:], duration=120, loop=0)


if __name__ == "__main__":
    run(main)

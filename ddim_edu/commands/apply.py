"""The applications as a command: ``python -m ddim_edu.apps {interpolate,reconstruct,inpaint,upscale,colourise,edit}
RUN_OR_CHECKPOINT --images FILES --out FILE.png``. For sounds: :mod:`ddim_edu.commands.sound`
and :mod:`ddim_edu.commands.melody`.

Images in, one picture out: a row for the input, one for what is left of it where something is taken away, and rows of
answers. Without ``--images`` the command takes images that the model was not trained on. Exit codes: 0 done; 2 called
wrongly (one line on stderr says what); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ddim_edu.apps.edit import first_steps, renoise, translate, translate_exactly
from ddim_edu.apps.interpolate import lerp, slerp, square, triangle
from ddim_edu.apps.operators import AveragePool, Grey, Mask, Operator
from ddim_edu.apps.restore import replace_known, restore
from ddim_edu.commands import melody, sound
from ddim_edu.commands.apply_inputs import missing_of, pictures, read_files, size_of
from ddim_edu.commands.apply_options import (
    ColouriseOptions,
    Common,
    EditOptions,
    InpaintOptions,
    InterpolateOptions,
    ReconstructOptions,
    RestoreOptions,
    UpscaleOptions,
)
from ddim_edu.commands.options import carry_out, distinct, fail, parse, plain_warnings
from ddim_edu.data.named import class_names
from ddim_edu.data.pictures import check_picture, save_grid, to_uint8
from ddim_edu.files import check_writable, replacing
from ddim_edu.forward import EpsTheta
from ddim_edu.guides import check_guide, guide_of_walk
from ddim_edu.measuring.metrics import psnr, reconstruction_error
from ddim_edu.models import Checkpoint, load
from ddim_edu.processes import counted, pick_device, progress
from ddim_edu.randomness import Stream, draw, generator_for
from ddim_edu.ranges import closest
from ddim_edu.sampler import decode, invert
from ddim_edu.sampling import check_label, label_number
from ddim_edu.schedule import make_tau
from ddim_edu.streams import say

PROG = "python -m ddim_edu.apps"
SOUNDS = {"sound": sound.main, "melody": melody.main}  # applications with options of their own


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The words after ``python -m ddim_edu.apps``; those of the process if None.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    known = [*COMMANDS, *SOUNDS]
    name = words.pop(0) if words and not words[0].startswith("-") else None
    if name in SOUNDS:
        return SOUNDS[name](words)
    if name in COMMANDS:
        return carry_out(lambda: _run(name, words))
    if name is None and {"-h", "--help"} & set(words):
        print(f"usage: {PROG} {{{','.join(known)}}} ...\n\n{__doc__}")
        say(f"Their options: {PROG} inpaint --help, and so on.")
        return 0
    what = f"there is no application {name!r}{closest(name, known)}" if name else "which application?"
    return fail(f"{what} (known: {', '.join(known)})")


def _run(name: str, words: Sequence[str]) -> None:
    default, application = COMMANDS[name]
    options = parse(default, words, prog=f"{PROG} {name}", description=type(default).__doc__ or "")
    if isinstance(options, EditOptions) and options.by == "exact" and not any(w.startswith("--steps") for w in words):
        options = replace(options, steps=20)  # exact at any number: so few that an answer takes seconds
    if not options.checkpoint:
        raise ValueError(f"which model? name a run folder or a checkpoint: {PROG} {name} digits")
    check_picture(options.out)
    film, mask = getattr(options, "film", None), getattr(options, "mask", None)
    if film is not None:
        check_writable(film)
    distinct([options.out, film], [*options.images, Path(mask) if mask else None])
    model = load(options.checkpoint, pick_device(options.device)).of_pictures().with_paths()
    began = time.perf_counter()
    with plain_warnings():
        said = application(model, options)
    say(f"{options.out}: {said}; S = {options.steps}, {time.perf_counter() - began:.1f} s")


# ---- one function for each: the model and the options in; the picture is written, and a line says what was done


def interpolate(model: Checkpoint, options: InterpolateOptions) -> str:
    """Frames between images, or between latents that were drawn.

    Returns:
        What was done, for the last line.

    Raises:
        ValueError: One line, for what can't be done so.
    """
    tau, label, device = levels(model, options), class_of(model, options.label), device_of(model)
    images = None if options.from_noise else pictures(model, options)
    with progress((1 + options.encodes) * options.steps, "step") as bar:
        eps_theta = counted(in_batches(model, label, options.batch), bar.update)
        if images is None:
            like = torch.empty(options.wanted, *model.image_shape)
            latents = draw(like, generators(options.seed, len(like))).to(device)
        else:
            latents = invert(eps_theta, images.to(device), model.schedule, tau)
        points = between(latents, options)
        found = decode(eps_theta, points, model.schedule, tau, clip=options.bound).cpu()
    return _write_pairs(images, found, options) if options.corners == 2 else _write_shape(found, options)


def between(latents: Tensor, options: InterpolateOptions) -> Tensor:
    """The points to decode.

    Args:
        latents: ``(N, C, H, W)``: N/2 pairs one after the other, or the corners.
        options: Say how many points, and along what.

    Returns:
        ``(M, C, H, W)``: the rows of pairs one after the other, or those of the square or triangle.
    """
    frames = options.frames
    if options.corners != 2:
        a, b, c = latents[:3]
        points = triangle(a, b, c, frames) if options.corners == 3 else square(a, b, c, latents[3], frames)
        return points.reshape(-1, *latents.shape[1:])
    along = slerp if options.along == "slerp" else lerp
    return torch.stack([along(latents[0::2], latents[1::2], i / (frames - 1)) for i in range(frames)], 1).flatten(0, 1)


def _write_pairs(images: Tensor | None, found: Tensor, options: InterpolateOptions) -> str:
    """Rows of frames, between the real images where there are some."""
    shown = found = found.unflatten(0, (-1, options.frames))
    if images is not None:
        shown = torch.cat([images[0::2, None], found, images[1::2, None]], 1)
    save_grid(shown.flatten(0, 1), options.out, columns=shown.shape[1])
    if options.film is not None:
        save_film(found[0], options.film)
    ends = "" if images is None else ", the real images at both ends"
    along = "arc" if options.along == "slerp" else "line"
    return f"{len(found)} rows of {options.frames} frames along the {along}{ends}"


def _write_shape(found: Tensor, options: InterpolateOptions) -> str:
    """A square or a triangle of frames."""
    frames = options.frames
    if options.corners == 3:  # row i of the triangle has i + 1 frames; the rest is left empty
        places = torch.full((frames * frames, *found.shape[1:]), -0.4)
        row, column = torch.tril_indices(frames, frames)
        places[row * frames + column] = found
        found = places
    save_grid(found, options.out, columns=frames)
    return f"{'a square' if options.corners == 4 else 'a triangle'} of {frames} frames a side"


def reconstruct(model: Checkpoint, options: ReconstructOptions) -> str:
    """Images, their latents, and what these decode to; arguments and errors as for :func:`interpolate`."""
    tau, label = levels(model, options), class_of(model, options.label)
    images = pictures(model, options)
    with progress(2 * options.steps, "step") as bar:
        eps_theta = counted(in_batches(model, label, options.batch), bar.update)
        latents = invert(eps_theta, images.to(device_of(model)), model.schedule, tau)
        found = decode(eps_theta, latents, model.schedule, tau, clip=options.bound).cpu()
    save_grid(torch.cat([images, latents.cpu() / 2, found]), options.out, columns=len(images))
    error = reconstruction_error(found, images)
    return (
        f"rows: {len(images)} images, their latents (half their contrast), reconstructions; squared error per "
        f"dimension in [0, 1] {error.mean():.2g} (largest {error.max():.2g})"
    )


def inpaint(model: Checkpoint, options: InpaintOptions) -> str:
    """Fill in what a mask takes away; arguments and errors as for :func:`interpolate`."""
    missing = missing_of(options.mask, model.config.image_size, options.seed)
    return _restore(model, options, Mask(~missing.to(device_of(model))), naive=options.replace)


def upscale(model: Checkpoint, options: UpscaleOptions) -> str:
    """Super-resolution; arguments and errors as for :func:`interpolate`."""
    size, factor = model.config.image_size, options.factor
    if size % factor:
        known = ", ".join(str(f) for f in range(2, size + 1) if size % f == 0)
        raise ValueError(f"factor = {factor} does not divide the model's {size} pixels: give one of {known}")
    small, y = size // factor, None
    if options.images and {size_of(path) for path in options.images} == {(small, small)}:
        say(f"images of {small} x {small} pixels: taken as what is given, to be enlarged", file=sys.stderr)
        y = read_files(options.images, small, model.config.image_channels)
    return _restore(model, options, AveragePool(factor), y)


def colourise(model: Checkpoint, options: ColouriseOptions) -> str:
    """Colours for grey images; arguments and errors as for :func:`interpolate`."""
    if model.config.image_channels != 3:
        raise ValueError(
            f"{options.checkpoint} makes grey images: colourise needs a model of colour images, such as cifar10-tiny"
        )
    return _restore(model, options, Grey())


def _restore(
    model: Checkpoint, options: RestoreOptions, operator: Operator, y: Tensor | None = None, *, naive: bool = False
) -> str:
    """Take away, restore, write the picture; ``y`` where only what is left is known."""
    tau, label, device = levels(model, options), class_of(model, options.label), device_of(model)
    images = None
    if y is None:
        images = pictures(model, options)
        y = operator.forward(images.to(device))
    y = y.to(device)
    n, k = len(y), options.answers
    many = y.repeat(k, *[1] * (y.ndim - 1))  # all first answers, then all second ones
    eta, noise, clip, travel = options.eta, generators(options.seed, n, k), options.bound, options.travel
    with progress(options.steps * (1 if naive else travel), "step") as bar:
        eps_theta, walk = counted(in_batches(model, label, options.batch), bar.update), (model.schedule, tau)
        if naive and isinstance(operator, Mask):
            found = replace_known(eps_theta, operator, many, *walk, eta=eta, generator=noise, clip=clip)
        else:
            how = partial(restore, travel=travel, jump=options.jump)
            found = how(eps_theta, operator, many, *walk, eta=eta, generator=noise, clip=clip)
    off = (operator.forward(found) - many).abs().max().item()
    found, left = found.cpu(), operator.show(y).cpu()
    save_grid(torch.cat([left, found] if images is None else [images, left, found]), options.out, columns=n)
    said = f"rows: {n} images, " if images is not None else f"rows of {n}: "
    said += f"what is given of them, {k} answer{'s' if k > 1 else ''}; off what is given by at most {off:.1g}"
    if images is not None:
        said += f", PSNR {psnr(found.clamp(-1, 1), images.repeat(k, 1, 1, 1)).mean():.1f} dB"
    return said


def edit(model: Checkpoint, options: EditOptions) -> str:
    """Images made into those of another class or model; arguments and errors as for :func:`interpolate`."""
    tau, device, guide = levels(model, options), device_of(model), guide_of_walk(options.guidance)
    other, source = _decoder(model, options), class_of(model, options.source, "source")
    targets = [class_of(other, label, "target") for label in options.target]
    images, labels = pictures(model, options), None
    n, rows = len(images), len(targets) or 1
    if other.config.classes:
        labels = torch.tensor(targets).repeat_interleave(n) if targets else torch.arange(n) % other.config.classes
        labels = labels.to(device)
    x_0 = images.to(device).repeat(rows, 1, 1, 1)
    down = in_batches(other, None, options.batch)
    if labels is not None:
        check_guide(guide, options.scale, other.schedule.T)
        down = guide.predictor(in_batches(other, labels, options.batch), down, options.scale, other.schedule)
    elif guide.kind != "plain":
        raise ValueError(f"guidance = {options.guidance}: {other.path} knows no classes to guide towards")
    steps = (1 + options.encodes) * (len(first_steps(tau, options.share)) - 1)
    with progress(steps - (options.by == "exact" and steps > 0), "step") as bar:
        down, walk, clip = counted(down, bar.update), (tau, options.share), options.bound
        if options.by == "noise":
            noise = [g for _ in range(rows) for g in generators(options.seed, n)]  # the same for each class
            found = renoise(down, x_0, other.schedule, *walk, generator=noise, clip=clip)
        else:
            up = counted(in_batches(model, source, options.batch), bar.update)
            way = translate_exactly if options.by == "exact" else partial(translate, clip=clip)
            found = way(up, down, x_0, model.schedule, *walk, decoder_schedule=other.schedule)
    save_grid(torch.cat([images, found.cpu()]), options.out, columns=n)
    what = f"class {', '.join(map(str, targets))}" if targets else "any class" if labels is None else "classes in turn"
    return f"rows: {n} images, then {what}; by {options.by}, strength {options.share:g}, scale {options.scale:g}"


def _decoder(model: Checkpoint, options: EditOptions) -> Checkpoint:
    """The model that decodes: another one, or the same.

    Raises:
        ValueError: If it doesn't go with the one that encodes, or there is nothing that would be edited.
    """
    if not options.decoder:
        if not model.config.classes:
            raise ValueError(
                f"{options.checkpoint} knows no classes: an edit needs a class to go to, or another model to --decoder"
            )
        return model
    other = load(options.decoder, device_of(model)).with_paths()
    if options.target and not other.config.classes:
        raise ValueError(f"{options.decoder} knows no classes: leave out --target")
    if other.image_shape != model.image_shape:
        ours, theirs = (
            f"{size} x {size} pixels in {'grey' if channels == 1 else 'colour'}"
            for channels, size, _ in (model.image_shape, other.image_shape)
        )
        raise ValueError(f"{options.decoder} makes images of {theirs}, and {options.checkpoint} of {ours}")
    if other.schedule.T != model.schedule.T:
        raise ValueError(
            f"{options.decoder} has T = {other.schedule.T}, and {options.checkpoint} T = {model.schedule.T}"
        )
    return other


COMMANDS: dict[str, tuple[Common, Callable[..., str]]] = {
    "interpolate": (InterpolateOptions(), interpolate),
    "reconstruct": (ReconstructOptions(), reconstruct),
    "inpaint": (InpaintOptions(), inpaint),
    "upscale": (UpscaleOptions(), upscale),
    "colourise": (ColouriseOptions(), colourise),
    "edit": (EditOptions(), edit),
}


# ---- what all of them need


def in_batches(model: Checkpoint, labels: Tensor | int | None, batch: int) -> EpsTheta:
    """The model under some classes, for any number of images: ``batch`` of them in the network at a time.

    Args:
        model: The model.
        labels: One for all, or one for each of the images to come, or None.
        batch: Images at a time.
    """

    def eps_theta(x_t: Tensor, t: Tensor) -> Tensor:
        parts = x_t.split(batch)
        each = labels.split(batch) if isinstance(labels, Tensor) else [labels] * len(parts)
        found = [model.eps_theta(c)(x, levels) for x, levels, c in zip(parts, t.split(batch), each, strict=True)]
        return found[0] if len(found) == 1 else torch.cat(found)

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
    if top > T:
        raise ValueError(f"top = {top}: give a level in 1..{T}")
    if options.steps > top:
        raise ValueError(f"steps = {options.steps}: below the level top = {top} there are at most {top}")
    return make_tau(top, options.steps, options.spacing)


def class_of(model: Checkpoint, label: int | str, name: str = "label") -> int | None:
    """A label as networks take it, after a check that the model knows it; None is any class.

    Raises:
        ValueError: If it doesn't.
    """
    label = label_number(label, class_names(model), ("any",))
    if label == "turn":
        raise ValueError(f"{name} = turn: give a class, or any")
    check_label(model, label, name)
    return None if isinstance(label, str) else label


def generators(seed: int, images: int, answers: int = 1) -> list[torch.Generator]:
    """A generator for each image of each answer: all first answers, then all second ones, and so on."""
    return [generator_for(seed, Stream.APPLY, i, k) for k in range(answers) for i in range(images)]


def device_of(model: Checkpoint) -> torch.device:
    """Where the model computes."""
    return next(model.model.parameters()).device


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

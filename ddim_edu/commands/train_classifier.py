"""Train a classifier that measures samples: ``python -m ddim_edu.commands.train_classifier digits``.

Writes the classifier's file (:mod:`ddim_edu.models.classifiers`) and prints its accuracy on the images that were held out.
The same machine, version of torch and number of threads give the same file again.

Exit codes: 0 done; 2 called wrongly (one line on stderr says what).
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from ddim_edu.commands.options import check_threads, fail, parse, run
from ddim_edu.data.batches import Shuffle, mirror, shifted
from ddim_edu.data.registry import load_data
from ddim_edu.data.source import ImageData
from ddim_edu.files import check_writable
from ddim_edu.models import classifiers
from ddim_edu.nets.classifier import Classifier, ClassifierConfig
from ddim_edu.randomness import Stream, generator_for

PROG = "python -m ddim_edu.commands.train_classifier"

# Second word of the random streams' keys, after the seed; 0 is the shuffling of Shuffle.


@dataclasses.dataclass(frozen=True)
class ClassifierRecipe:
    """How a classifier is trained: AdamW, with a learning rate that rises to ``lr`` over the first fifth of the steps
    and falls to 0 along half a cosine.

    Raises:
        ValueError: If a value is out of range.
    """

    # The data set, by its name.
    data: str
    # Passes over it.
    epochs: int
    # Images per step.
    batch: int
    # Highest learning rate.
    lr: float = 3e-3
    # AdamW's, per unit of learning rate.
    weight_decay: float = 0.01
    # Channels of the levels.
    channels: tuple[int, ...] = (32, 64)
    # Number of features.
    feature_size: int = 64
    # Share of the features that each step leaves out.
    dropout: float = 0.2
    # Images are moved by up to so many pixels up or down, left or right.
    shift: int = 1
    # Half of the images are mirrored left to right.
    mirror: bool = False
    # Everything random follows from it.
    seed: int = 0
    # CPU threads.
    threads: int = 1

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 2), ("shift", 0), ("seed", 0), ("threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: give at least {least}")
        check_threads(self.threads)
        if not self.lr > 0 or not self.weight_decay >= 0:
            raise ValueError(
                f"lr = {self.lr}, weight_decay = {self.weight_decay}: give a positive lr, and no negative weight_decay"
            )


@dataclasses.dataclass(frozen=True)
class PartRecipe(ClassifierRecipe):
    """The same, where class names have parts, as in "3 george", and one part is the class."""

    # Which part: 0 is the word, 1 the speaker.
    part: int = 0


RECIPES = {
    "digits": ClassifierRecipe("digits", epochs=20, batch=64),
    "fashion-mnist": ClassifierRecipe("fashion-mnist", epochs=6, batch=128, weight_decay=0.02, shift=0, mirror=True),
    "faces": ClassifierRecipe("faces", epochs=2, batch=128, channels=(16, 32, 64), mirror=True),
    "spoken-word": PartRecipe("spoken-digits", epochs=5, batch=64, channels=(16, 32, 64), dropout=0.3, shift=2, part=0),
    "spoken-speaker": PartRecipe(
        "spoken-digits", epochs=5, batch=64, channels=(16, 32, 64), dropout=0.3, shift=2, part=1
    ),
}


def by_part(data: ImageData, part: int) -> ImageData:
    """A data set whose classes are one part of its class names.

    Args:
        data: The data set, with class names such as ``"3 george"``.
        part: Which: 0 for ``"3"``, 1 for ``"george"``.

    Raises:
        ValueError: If the names have no such part.
    """
    names = [name.split(" ")[part : part + 1] for name in data.classes]
    if not all(names):
        raise ValueError(f"the classes {', '.join(data.classes[:3])}, ... have no part {part}")
    classes = tuple(dict.fromkeys(name for (name,) in names))
    table = torch.tensor([classes.index(name) for (name,) in names])
    labels = {key: table[getattr(data, key)] for key in ("train_labels", "heldout_labels")}
    return dataclasses.replace(data, classes=classes, **labels)


@torch.no_grad()
def accuracy(model: Classifier, data: ImageData) -> float:
    """Share of the held-out images that a network classifies correctly; it is put into evaluation mode."""
    model.eval()
    right = [
        model(data.floats(x)).argmax(1) == y for x, y in zip(data.heldout.split(500), data.heldout_labels.split(500))
    ]
    return torch.cat(right).double().mean().item()


def train_classifier(recipe: ClassifierRecipe, data: ImageData) -> Classifier:
    """Train a classifier on the CPU.

    Args:
        recipe: How.
        data: The data set, with labels.

    Returns:
        The network, in evaluation mode, its weights rounded to float16 as they will be saved.
    """
    torch.set_num_threads(recipe.threads)
    _, channels, size, _ = data.train.shape
    config = ClassifierConfig(size, channels, recipe.channels, recipe.feature_size, len(data.classes), recipe.dropout)
    steps = recipe.epochs * len(data.train) // recipe.batch
    order = Shuffle(len(data.train), recipe.batch, recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_for(recipe.seed, Stream.INIT).initial_seed())
        model = Classifier(config).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        rise = 0.2 * steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: (
                (step + 1) / rise if step + 1 < rise else (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2
            ),
        )
        for step in tqdm(range(steps), unit="step", disable=None, leave=False):
            generator = generator_for(recipe.seed, Stream.STEP, step)
            which = order(step)
            x, y = data.floats(data.train[which]), data.train_labels[which]
            if recipe.shift:
                x = shifted(x, *torch.randint(-recipe.shift, recipe.shift + 1, (2, len(x)), generator=generator))
            if recipe.mirror:
                x = mirror(x, torch.rand(len(x), generator=generator) < 0.5)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.half())
    return model.eval()


@dataclasses.dataclass(frozen=True)
class _Options:
    # Where to write; by default among the classifiers that come with the package.
    out: Path | None = None
    # Where data sets lie, or are downloaded to.
    data_dir: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words after the command; those of the process if None.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        name = words.pop(0) if words and not words[0].startswith("-") else None
        description = f"Train one of the classifiers that measure samples: {', '.join(RECIPES)}."
        options = parse(_Options(), words, prog=f"{PROG} NAME", description=description)
        if name not in RECIPES:
            raise ValueError(f"which classifier? name one of {', '.join(RECIPES)}: {PROG} digits")
        if options.out is None:
            classifiers.SHIPPED.mkdir(parents=True, exist_ok=True)
        out = check_writable(options.out or classifiers.SHIPPED / f"{name}.safetensors")
        recipe = RECIPES[name]
        data = load_data(recipe.data, data_dir=options.data_dir)
        if isinstance(recipe, PartRecipe):
            data = by_part(data, recipe.part)
    except (ValueError, OSError) as error:
        return fail(error)
    started = time.perf_counter()
    try:
        model = train_classifier(recipe, data)
    except KeyboardInterrupt:
        return 130
    seconds = time.perf_counter() - started
    share = accuracy(model, data)
    try:
        classifiers.save_classifier(out, model, data=recipe.data, accuracy=share, training=dataclasses.asdict(recipe))
    except OSError as error:
        return fail(f"can't write {out} ({error.strerror or error})")
    print(f"{out}: {share:.2%} of {len(data.heldout):,} held-out images right, after {seconds:.0f} s of training")
    return 0


if __name__ == "__main__":
    run(main)

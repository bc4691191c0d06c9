"""Chapter 10, training the full models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ddim_edu.exercises.comparing import agree
from ddim_edu.exercises.core import exercise
from ddim_edu.exercises.reading import Wrong, number, numbers, show


@exercise("ex-training-span", "derive", stars=3, minutes=25, skill="losses")
def span(answer: Any) -> None:
    """The average looks back over as many steps as the decay's distance from 1 says: ten thousand for the paper's."""
    agree(
        answer,
        "age(d)",
        lambda d: d / (1 - d),
        [(0.9999,), (0.5,), (0.9,), (0.0,)],
        "Weights of age 0, 1, 2, ... form a geometric series. With d = 0 only the newest counts, and its age is 0.",
        (lambda d: 1 / (1 - d), "Nearly: how old is the newest of the weights, 0 steps or 1?"),
        (lambda d: d / (1 - d) ** 2, "The weights have to sum to 1. Is the factor in front of the powers there?"),
        (lambda d: 2 * d / (1 - d), "The form is right and a factor is not. The weight of age j is (1 - d) d^j."),
        (lambda d: -d / (1 - d), "The sign is wrong: an age is not negative."),
        (
            lambda d: torch.tensor(2.0).log().neg() / d.clamp(min=1e-9).log(),
            "This is the age at which a weight is halved. The mean is asked for.",
        ),
        (lambda d: 1 - d, "This is the weight of the newest. Its age is 0."),
        rtol=1e-3,  # in float32 the distance of 0.9999 from 1 is off by 2e-4 of itself
    )


@exercise("ex-training-fresh", "derive", stars=1, minutes=15, skill="statistics")
def fresh(answer: Any) -> None:
    """A noise predictor's first loss is known beforehand, with its spread: noise of a wrong size shows before training
    begins.
    """
    agree(
        answer,
        "spread(n, D)",
        lambda n, D: torch.tensor(2 / (n * D)).sqrt(),
        [(64, 64), (1, 10), (128, 3072)],
        "The loss is a mean of how many squares? What is the variance of one of them?",
        (
            lambda n, D: torch.tensor(1 / (n * D)).sqrt(),
            "The square of a standard normal has mean 1. Is its variance 1, too?",
        ),
        (
            lambda n, D: torch.tensor(3 / (n * D)).sqrt(),
            "3 is the mean fourth power. What is to be subtracted for the variance of the square?",
        ),
        (lambda n, D: torch.tensor(2 / n).sqrt(), "An image has many pixels, and each has a noise of its own."),
        (lambda n, D: torch.tensor(2 / D).sqrt(), "A batch has many images, and each has noises of its own."),
        (lambda n, D: torch.tensor(2 / (n * D)), "This is the variance. A standard deviation is asked for."),
    )


@exercise("ex-training-batch", "code", stars=2, minutes=25, skill="losses")
def batch(answer: Any) -> None:
    """Parts of a batch count by their sizes, and then it does not matter how the batch was cut."""

    def tensors(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    agree(
        answer,
        "whole(losses, sizes)",
        lambda losses, sizes: (losses * sizes).sum() / sizes.sum(),
        [
            (tensors(0.5, 0.2), tensors(48, 16)),
            (tensors(1.0, 2.0, 4.0), tensors(1, 2, 3)),
            (tensors(0.3, 0.6), tensors(32, 32)),
        ],
        "Every image counts once. How much does an image of each part count now?",
        (lambda losses, sizes: losses.mean(), "Every part counts the same here, whatever its size."),
        (lambda losses, sizes: losses.sum(), "This is the sum of the means."),
        (lambda losses, sizes: (losses * sizes).sum(), "This is the sum over all images. The loss is their mean."),
        (
            lambda losses, sizes: (losses * sizes).mean(),
            "This is divided by the number of parts. By how many images is it to be divided?",
        ),
        (lambda losses, sizes: (losses * sizes).sum() / 64, "Right for 64 images, not for other batches."),
        (
            lambda losses, sizes: (losses * sizes.sqrt()).sum() / sizes.sqrt().sum(),
            "An image of each part is to count the same. Why the root?",
        ),
        (
            lambda losses, sizes: (losses / sizes).sum() / (1 / sizes).sum(),
            "The larger part has to count more, not less.",
        ),
    )


@exercise("ex-training-same-noise", "break", stars=2, minutes=30, skill="losses")
def same_noise(answer: Any) -> None:
    """Learned by heart: below the floor on its own batch, worse than the honest run on fresh ones."""
    own, unseen, honest = numbers(answer, "own", "unseen", "honest")
    said = f"own = {own:.3g}, unseen = {unseen:.3g}, honest = {honest:.3g}: "
    if min(own, unseen, honest) < 0:
        raise Wrong(said + "a mean square is not negative.")
    if 0.25 < unseen < 0.4 < honest < 2:
        raise Wrong(said + "the last two are swapped: the run with a key for each step does better on fresh draws.")
    if own > unseen:
        raise Wrong(
            said + "the first is larger than the second. Is it the loss on the batch that was seen at every step?"
        )
    if not own < 0.1:
        raise Wrong(
            said + "look at the first. Are points, levels and noises the same in every step, and are there some "
            "hundred steps?"
        )
    if not 0.25 < honest < 0.4:
        raise Wrong(
            said + "look at the last: the run with a key for each step, on thousands of fresh draws. It cannot be "
            "below the floor. Is the schedule the cosine one?"
        )
    if unseen > 4:  # 0.89 to 1.02 in three measurements; a prediction of 0 has 1
        raise Wrong(said + "look at the second: is it a mean over points and coordinates, not a sum?")
    if not unseen > 1.3 * honest:
        raise Wrong(
            said + "the first two runs differ less than they should. Is the second number from draws that were not in "
            "its batch?"
        )


@exercise("ex-training-tell", "measure", stars=3, minutes=30, skill="statistics")
def tell(answer: Any) -> None:
    """A per cent of the loss takes more than a thousand batches to see: of two such curves, batch by batch, neither is
    seen to be lower.
    """
    batches = number(answer)
    said = f"{show(batches)} batches: "
    if 1_000 <= batches <= 1_700:  # three measurements, of 3,000 errors each, gave 1,312 to 1,359
        return
    if batches < 0:
        raise Wrong(said + "a number of batches is not negative.")
    for low, high, says in (
        (
            2_300,
            3_000,
            "twice the standard error is to be 1%. Is the factor 2 of the difference in the variance, and "
            "counted once?",
        ),
        (250, 430, "one standard error for the difference, but two are asked for?"),
        (500, 850, "both losses are measured with chance, not one of them. What is the variance of a difference?"),
        (64_000, 109_000, "that would be images. There are 64 in a batch."),
        (
            25,
            60,
            "that would do for a network that predicts 0, where only the squares of the noise vary. Here "
            "levels differ, too.",
        ),
        (0, 1, "is the standard deviation divided by the mean before it is compared with 1%?"),
    ):
        if low <= batches <= high:
            raise Wrong(said + says)
    raise Wrong(said + "that is not it. Begin with the standard deviation of single pictures' errors over their mean.")

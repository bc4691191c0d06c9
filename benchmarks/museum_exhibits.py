"""The exhibits of the museum of real bugs: where each was seen, and its lines. benchmarks/museum.py shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ddim_edu.conformance.catalogue import BY_ID
from ddim_edu.conformance.reference import Sheet, build

SIGMA = r"\sigma = \eta \sqrt{\frac{1 - \bar\alpha_s}{1 - \bar\alpha_t}} \sqrt{1 - \frac{\bar\alpha_t}{\bar\alpha_s}}"
SIGMA_1 = r"\sqrt{\frac{1 - \bar\alpha_s}{1 - \bar\alpha_t}} \sqrt{1 - \frac{\bar\alpha_t}{\bar\alpha_s}}"


@dataclass(frozen=True)
class Source:
    """Where a mistake was described in public: the repository, ``issues`` or ``pull``, the number, the day of the words
    that we read.
    """

    repository: str
    form: str
    number: int
    date: str

    @property
    def markdown(self) -> str:
        words = {"issues": "issue", "pull": "pull request"}[self.form]
        address = f"https://github.com/{self.repository}/{self.form}/{self.number}"
        return f"[{self.repository}, {words} {self.number}]({address}) ({self.date})"


@dataclass(frozen=True)
class Exhibit:
    """One bug.

    Attributes:
        id: of the catalogue's mistake.
        kind: of the function that the kit is given.
        title: of the exhibit.
        sources: where it was described.
        said: what is said there, in our words.
        wrong: the wrong line, as LaTeX or words.
        right: what stands there instead.
        seen: what the figure shows.
        alt: the same for who can't see it.
        S: number of steps of the figure.
        eta: of the figure.
        output: what the network of the figure is asked for, ``eps`` or ``x0``.
        grid: levels for the figure and for the kit in the place of the reference's, where the mistake shows on some
            grids only.
    """

    id: str
    kind: str
    title: str
    sources: Sequence[Source]
    said: str
    wrong: str
    right: str
    seen: str
    alt: str
    S: int = 20
    eta: float = 0.0
    output: str = "eps"
    grid: Callable[[Sheet], list] | None = None

    @property
    def grid_lines(self) -> dict[str, Callable]:
        return {"tau": self.grid} if self.grid else {}

    @property
    def lines(self) -> dict[str, Callable]:
        """The lines in which it differs from the right formulas."""
        return {**self.grid_lines, **BY_ID[self.id].change}

    def function(self) -> Callable:
        """What the kit judges."""
        return build(self.kind, self.lines)


COURSE = Source("jsboige/CoursIA", "pull", 16158, "2026-09-14")
EXHIBITS = (
    Exhibit(
        "direction-sigma", "step", "Sigma in the place of the direction", [COURSE],
        "A reviewer of a course notebook recomputes its step and finds the same coefficient before the predicted "
        "noise and before the fresh noise. "
        "The notebook was corrected the same day; the measurements given there are one class of ten reached before, "
        "ten after.",
        r"x_s = \sqrt{\bar\alpha_s}\, \hat x_0 + \sigma\, \epsilon + \sigma\, z",
        r"x_s = \sqrt{\bar\alpha_s}\, \hat x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\, \epsilon + \sigma\, z",
        "Every walk ends at the same point, between the clusters, and every digit is the same: without noise in the "
        "state, the network can't tell one walk from another.",
        "The points with the bug are one dot between the two clusters; the six digits are six times the same dim "
        "shape.",
    ),
    Exhibit(
        "sigma-all-of-t", "step", "All of the noise is fresh", [COURSE],
        "The same notebook before its first correction: sigma is taken from the level left alone, and a clamp at 0 "
        "under the direction's root keeps "
        "the code running.",
        r"\sigma = \eta \sqrt{1 - \bar\alpha_t}", SIGMA,
        "The clusters are too wide, and the digits dim and grainy.",
        "The points with the bug spread beyond the two clusters; the six digits are dim and grainy.", eta=1.0,
    ),
    Exhibit(
        "direction-eta-variance", "step", "Eta is not squared in the direction",
        [Source("inbarhub/DDPM_inversion", "issues", 12, "2024-09-11")],
        "The reporter asks why the direction subtracts eta times the variance, where the fresh noise has eta times "
        "the deviation.",
        r"\sqrt{1 - \bar\alpha_s - \eta\, \sigma_1^2}\; \epsilon, \qquad \sigma_1 = " + SIGMA_1,
        r"\sqrt{1 - \bar\alpha_s - \sigma^2}\; \epsilon, \qquad \sigma = \eta\, \sigma_1",
        "The clusters are too narrow and have moved together. The digits would pass: what looks plausible may still "
        "come from another distribution.",
        "The points with the bug fill only the inner part of the two clusters; the six digits are readable, and "
        "differ in places.", eta=0.5,
    ),
    Exhibit(
        "sigma-beta", "sigma", "Beta in the place of beta-tilde",
        [Source("jhbastek/PhysicsInformedDiffusionModels", "issues", 4, "2025-04-16")],
        "The reporter asks whether a toy example should draw with the posterior's variance and not with beta. The "
        "author agrees that the paper has the former, "
        "and expects a small effect. With all levels it is small; with few it is not.",
        r"\sigma = \eta \sqrt{1 - \frac{\bar\alpha_t}{\bar\alpha_s}}", SIGMA,
        "The last step, too, adds noise: the clusters are a little too wide, and the digits grainy, above all where "
        "they should be black.",
        "The points with the bug spread a little beyond the two clusters; the six digits have grain in their black "
        "parts.", eta=1.0,
    ),
    Exhibit(
        "signal-no-root", "step", "The signal without its root",
        [Source("mathpluscode/ImgX-DiffSeg", "issues", 4, "2023-03-26")],
        "The author notes that a square root is missing in the coefficients of the DDIM step; the version before "
        "the fix multiplies the predicted data by "
        "alpha-bar itself.",
        r"x_s = \bar\alpha_s\, \hat x_0 + \dots", r"x_s = \sqrt{\bar\alpha_s}\, \hat x_0 + \dots",
        "The clusters shrink towards the middle, and the digits are lost in grey.",
        "The points with the bug have moved from the two clusters towards the middle; the six digits are grey noise.",
    ),
    Exhibit(
        "x0-read-as-eps-half", "step", "A predicted picture taken for noise",
        [Source("huggingface/diffusers", "issues", 1486, "2022-11-30"),
        Source("huggingface/diffusers", "pull", 2094, "2023-01-24")],
        "With a network that predicts the data, the step took the network's output for the data, rightly, and for "
        "the noise in the direction as well. "
        "The pull request computes the noise from the data, and was merged.",
        r"\hat x_0 = f, \quad \epsilon = f \qquad (f \text{ is what the network says})",
        r"\hat x_0 = f, \quad \epsilon = \frac{x_t - \sqrt{\bar\alpha_t}\, \hat x_0}{\sqrt{1 - \bar\alpha_t}}",
        "The network is asked for the data, as in the report. All walks end at the same point, and all digits are "
        "the same bar.",
        "The points with the bug are one dot between the two clusters; the six digits are six times the same white "
        "bar.", output="x0",
    ),
    Exhibit(
        "clip-without-eps", "step", "Clipped, and the noise left as it was",
        [Source("lucidrains/denoising-diffusion-pytorch", "pull", 84, "2022-09-01")],
        "The author compares two implementations on a one-dimensional model: one computes the noise anew after the "
        "predicted data is clipped, the other does not, "
        "and the two parts of its step no longer belong to one state. The maintainer made the change.",
        r"\hat x_0 \leftarrow \mathrm{clip}(\hat x_0, -1, 1)",
        r"\hat x_0 \leftarrow \mathrm{clip}(\hat x_0, -1, 1), \quad \epsilon \leftarrow \frac{x_t - "
        r"\sqrt{\bar\alpha_t}\, \hat x_0}{\sqrt{1 - \bar\alpha_t}}",
        "Next to nothing: the exact prediction hardly ever leaves the range, and the digits differ by shades. A "
        "picture is no test of this one.",
        "The points with the bug cover those without; the six digits look the same in both rows.", S=5,
    ),
    Exhibit(
        "s-is-t-minus-one", "step", "One level down, however long the step",
        [Source("Kitsunetic/SDF-Diffusion", "issues", 5, "2025-03-03")],
        "The reporter points out that the level before, in a DDIM step that skips levels, is not that of DDPM, $t - "
        "1$.",
        r"\bar\alpha_s = \bar\alpha_{t-1}", r"\bar\alpha_s \text{ with } s \text{ the next level of the walk}",
        "After as many steps the state has come down by as many levels, and nearly all of the noise is still in it.",
        "The points with the bug are scattered over the whole square; in the place of the six digits there is noise.",
    ),
    Exhibit(
        "last-step-abar-1", "step", "The last step ends a level too early",
        [Source("lllyasviel/ControlNet", "pull", 587, "2023-11-26"),
        Source("Stability-AI/stablediffusion", "pull", 345, "2023-11-26"),
         Source("rohitg00/ai-engineering-from-scratch", "pull", 43, "2026-04-21")],
        "Two pull requests of one author, and a review in a third repository, note that the list of earlier "
        "alpha-bars begins with that of "
        "the first noisy level, where 1 belongs.",
        r"\bar\alpha_s = \bar\alpha_1 \text{ in the step to the data}", r"\bar\alpha_s = \bar\alpha_0 = 1",
        "Nothing that an eye can see, and it is in every picture.",
        "The points with the bug cover those without; the six digits look the same in both rows.",
    ),
    Exhibit(
        "stride-recomputed", "sampler", "A stride computed beside the list",
        [Source("huggingface/diffusers", "issues", 9261, "2024-08-23"),
        Source("huggingface/diffusers", "issues", 11347, "2025-04-16"),
         Source("huggingface/diffusers", "issues", 12633, "2025-11-11"),
        Source("huggingface/diffusers", "pull", 14357, "2026-08-02")],
        "The list of levels follows the chosen spacing; the level that a step goes to is computed as if that "
        "spacing were always $\\lfloor T/S \\rfloor$. Reported for grids that "
        "are spread from end to end, and for those whose number of steps does not divide T.",
        r"s = t - \lfloor T/S \rfloor", r"s \text{ is the next level of the list}",
        "Ten levels spread from 1000 to 1 lie 111 apart, and the step goes down by 100. The clusters widen a "
        "little; the digits differ by shades.",
        "The points with the bug spread a little beyond the two clusters; the six digits look nearly the same in "
        "both rows.", S=10,
        grid=lambda v: [*np.round(np.linspace(v.T, 1, v.S)).astype(int), 0],
    ),
    Exhibit(
        "grid-too-many", "tau", "More steps than asked for",
        [Source("basujindal/stable-diffusion", "issues", 105, "2022-09-02"),
        Source("CompVis/stable-diffusion", "issues", 193, "2022-09-05"),
         Source("AUTOMATIC1111/stable-diffusion-webui", "issues", 6859, "2023-01-17")],
        "Users ask for 150 steps and see 167, ask for 201 and see 250: the list holds every $k$-th level, of which "
        "there are more than S wherever S does "
        "not divide T.",
        r"1,\; 1 + k,\; 1 + 2k,\; \dots \le T \text{ with } k = \lfloor T/S \rfloor", r"S \text{ different levels, "
        r"the first of them } T \text{ or near it}",
        "Seven steps were asked for, and eight were made. The pictures don't suffer; comparisons at the same number "
        "of steps do.",
        "The points with the bug cover those without; the six digits look nearly the same in both rows.", S=7,
    ),
    Exhibit(
        "grid-repeats", "tau", "A level visited twice", [Source("huggingface/diffusers", "issues", 8730, "2024-06-28")],
        "The reporter prints the levels of a run of ten steps and finds eleven, among them 801 twice. The answer "
        "refers the question to the discussions.",
        r"T,\; T,\; \dots", r"S \text{ different levels, the first of them } T \text{ or near it}",
        "The second of ten calls moves nothing, and the last of the steps is twice as long: more points are left "
        "between the clusters.",
        "The points with the bug keep to the two clusters' inner parts and to the line between them; the six digits "
        "look nearly the same in both rows.", S=10,
    ),
    Exhibit(
        "invert-asked-at-index", "invert", "An inversion that asks at the index",
        [Source("Stability-AI/stablediffusion", "pull", 226, "2023-03-30")],
        "The author corrects the encoder of a DDIM sampler, which hands the network the number of the step where "
        "its level belongs.",
        r"\epsilon = \epsilon_\theta(x_t, i) \text{ in step } i = 0, 1, 2, \dots",
        r"\epsilon = \epsilon_\theta(x_t, t)",
        "The network takes every state for nearly clean. What the right sampler makes of such an $x_T$ has nothing "
        "to do with the picture.",
        "Most points with the bug are out of the figure; in the place of the six digits there are black and white "
        "patches.", S=50,
    ),
    Exhibit(
        "invert-asked-at-end", "invert", "An inversion that asks at the level ahead",
        [Source("huggingface/diffusers", "pull", 5832, "2023-11-17"),
        Source("huggingface/diffusers", "issues", 10695, "2025-01-31")],
        "The noise is predicted at one level and used with the alpha-bars of the level before it. The pull request, "
        "closed without a merge, aligns them; the issue "
        "asks about the same lines.",
        r"\epsilon = \epsilon_\theta(x_t, s) \text{ on the way from } t \text{ up to } s",
        r"\epsilon = \epsilon_\theta(x_t, t)",
        "It is still an inversion of first order, and hard to see: the pictures come back, a little less exactly.",
        "The points with the bug cover those without; the six digits look the same in both rows.", S=50,
    ),
)  # fmt: skip


# -- what the mistakes do

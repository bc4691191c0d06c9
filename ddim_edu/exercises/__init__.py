"""Checks for the exercises of the chapters: ``from ddim_edu.exercises import check``.

``check("ex-forward-roots", answer)`` says whether the answer to that exercise is right, and if not, in which direction
to look. Nothing that a chapter needs lives here: a file for each chapter holds a short function for each of its
exercises, and :mod:`.core`, :mod:`.reading` and :mod:`.comparing` what they share.
"""

# To add a chapter's checks:
#
# 1. In the chapter, below an exercise's title and label, a line as "*Derive · two stars · 15 minutes*" (Derive, Code,
#    Break or Measure; one, two or three stars) and an empty one. The statement's last sentence says what to hand in:
#    "Hand in ...: `check("ex-name", f)`." The folded solution's code ends with `assert check("ex-name", ...)`, beside
#    asserts for what check does not look at.
# 2. Here, _chapter_NN.py with a function for each exercise, in the chapter's order, under @exercise with the same
#    label, kind, stars and minutes. It takes the answer and raises Wrong if it is not right; number(s), tensor(s) and
#    function of reading.py, expect and agree of comparing.py do most of that. Its docstring is what a right answer is
#    told: what has been established, in a sentence. Recognise the mistakes that readers make, and never say the answer.
#    Answers that depend on chance are judged with margins of at least five standard errors.
# 3. Import the file below. In tests/test_exercises.py, take the chapter out of LATER and give each exercise at least
#    one wrong answer, the typical one, with words of the feedback that only this mistake gets.
# 4. In tests/exercise_answers, give each exercise right answers in different forms (forms.py makes most of them) and at
#    least three typical mistakes, each with words of the hint that fits it. A factor of 2 or -1 is tried on all.

from ddim_edu.exercises import (
    _chapter_01,
    _chapter_02,
    _chapter_03,
    _chapter_04,
    _chapter_05,
    _chapter_06,
    _chapter_07,
    _chapter_08,
    _chapter_09,
    _chapter_10,
    _chapter_11,
    _chapter_12,
    _chapter_13,
    _chapter_14,
    _chapter_15,
    _chapter_16,
    _chapter_17,
    _chapter_18,
    _chapter_19,
    _chapter_20,
    _chapter_21,
)
from ddim_edu.exercises.core import KINDS, SKILLS, Exercise, Verdict, check, registry

__all__ = ["KINDS", "SKILLS", "Exercise", "Verdict", "check", "registry"]

CHAPTERS = (
    _chapter_01,
    _chapter_02,
    _chapter_03,
    _chapter_04,
    _chapter_05,
    _chapter_06,
    _chapter_07,
    _chapter_08,
    _chapter_09,
    _chapter_10,
    _chapter_11,
    _chapter_12,
    _chapter_13,
    _chapter_14,
    _chapter_15,
    _chapter_16,
    _chapter_17,
    _chapter_18,
    _chapter_19,
    _chapter_20,
    _chapter_21,
)

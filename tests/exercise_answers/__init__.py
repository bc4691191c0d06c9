"""A table for every exercise: right answers in different forms, and typical mistakes with the hints that fit them."""

from exercise_answers import (
    chapter_19,
    chapter_21,
    chapters_01_to_05,
    chapters_06_to_10,
    chapters_11_to_15,
    chapters_16_to_20,
)

ANSWERS = chapters_01_to_05.ANSWERS | chapters_06_to_10.ANSWERS | chapters_11_to_15.ANSWERS | chapters_16_to_20.ANSWERS
ANSWERS |= chapter_19.ANSWERS
ANSWERS |= chapter_21.ANSWERS

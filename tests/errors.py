"""Errors of users, as tests look at them."""

import pytest


def one_line(call, *words, kind=ValueError):
    """The call raises an error of this kind, of one line, with these words in it."""
    with pytest.raises(kind) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, message

"""Tables of numbers as the chapters show them."""

import re

import pytest

from ddim_edu.plotting import Table


def test_a_table_says_the_same_in_html_and_in_plain_text():
    shown = Table(["loss <ε>", "of digits"], [["mse & more", 1.5], ["v", "2 ± 1"]])
    html = shown._repr_html_()
    assert re.findall(r"<t[hd](?: [^>]*)?>(.*?)</t[hd]>", html) == [
        "loss &lt;ε&gt;", "of digits", "mse &amp; more", "1.5", "v", "2 ± 1",
    ]  # fmt: skip
    assert html.count('scope="col"') == 2 and html.count('scope="row"') == 2
    assert repr(shown).splitlines() == ["loss <ε>    of digits", "mse & more        1.5", "v               2 ± 1"]


def test_a_table_with_a_row_too_short_is_refused():
    with pytest.raises(ValueError, match="1 cells under 2 headings"):
        Table(["a", "b"], [["one"]])

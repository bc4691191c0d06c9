"""Tables of numbers and sounds as the chapters show them."""

import base64
import io
import re
import wave

import numpy as np
import pytest

from ddim_edu.plotting import Players, Table


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


def test_sounds_side_by_side_keep_their_lengths_and_their_loudness():
    loud, soft = np.sin(np.arange(800) / 9), 0.25 * np.sin(np.arange(400) / 9)
    shown = Players({"loud <1>": loud, "soft": soft}, 8000)
    assert repr(shown) == "loud <1>: 0.1 s\nsoft: 0.1 s"
    html = shown._repr_html_()
    assert html.count("<audio") == 2 and "loud &lt;1&gt;" in html and "<1>" not in html
    peaks = []
    for data, sound in zip(re.findall(r"base64,([^\"]+)", html), (loud, soft)):
        with wave.open(io.BytesIO(base64.b64decode(data))) as file:
            assert file.getparams()[:4] == (1, 2, 8000, len(sound))
            samples = np.frombuffer(file.readframes(len(sound)), "<i2") / 32767
        assert np.corrcoef(samples, sound)[0, 1] > 0.9999
        peaks.append(np.abs(samples).max())
    assert peaks == pytest.approx([1, 0.25], rel=1e-3)
    assert "audio" in Players({"silence": np.zeros(8)}, 8000)._repr_html_()

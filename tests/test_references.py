"""Cross-references as words, in downloads and in JupyterLab: the book's own numbers, and nothing lost on the way."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import downloads  # noqa: E402
import references  # noqa: E402

CHAPTERS = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
RAW = re.compile(r"\{[a-z][a-z:]*\}`|^[ \t]*(?:`{3,}|:{3,})\{.*|^\([\w:-]+\)=|\$\$ \([\w:-]+\)", re.MULTILINE)
KNOWN = references.References()


def texts(notebook: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "markdown"]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_downloaded_notebook_has_no_role_directive_or_label_left(path):
    stored = path.read_text(encoding="utf-8")
    assert any(RAW.search(text) for text in texts(stored))
    given = downloads.for_download(stored, path.name, KNOWN)
    assert not references.ROLE.search(given)  # nor in a caption
    for text in texts(given):
        assert not RAW.search(text), RAW.search(text)[0]
        for target in re.findall(r"\]\(([^()\s]+)\)", text):
            place = path.parent / target.partition("#")[0]
            assert target.startswith("https://") or place.resolve().exists(), target


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_what_jupyterlab_is_given_comes_back_letter_by_letter(path):
    for text in texts(path.read_text(encoding="utf-8")):
        shown = references.linked(text, KNOWN, path.name)
        assert not references.ROLE.search(shown)
        assert references.unlinked(shown) == text


def test_words_of_roles():
    def words(role, text):
        return KNOWN.words(role, text)

    assert words("eq", "eq:found-noise") == ("(4.1)", "04_non_markov.ipynb")
    assert words("ref", "Chapter 4 <ch-non-markov>") == ("Chapter 4", "04_non_markov.ipynb")
    assert words("ref", "ch-fewer-calls") == ("Fewer calls", "17_fewer_calls.ipynb")
    assert words("ref", "ex-family-distance") == ("Exercise 4.1", "04_non_markov.ipynb")
    assert words("prf:ref", "lem-same-marginals") == ("Lemma 4.1", "04_non_markov.ipynb")
    assert words("numref", "fig-family-paths") == ("Figure 4.2", "04_non_markov.ipynb")
    assert words("doc", "chapter 14 </chapters/14_conditioning>") == ("chapter 14", "14_conditioning.ipynb")
    assert words("doc", "/sources") == ("Sources", "../book/sources.md")
    assert words("cite:t", "ho2020ddpm") == ("Ho *et al.* [2020]", "https://arxiv.org/abs/2006.11239")
    assert words("cite", "vincent2011connection")[0] == "[Vincent, 2011]"
    assert words("py:func", "~ddim_edu.sampler.sample") == ("`sample()`", "../ddim_edu/sampler.py")
    assert words("py:mod", "ddim_edu.steps") == ("`ddim_edu.steps`", "../ddim_edu/steps.py")
    with pytest.raises(KeyError):
        words("eq", "eq:nowhere")


TEXT = """\
(ch-x)=
# X

See {eq}`eq:q-sigma-step`, and `code`.

```{prf:lemma} Same marginals
:label: lem-same-marginals
A formula:

$$
x = 1
$$ (eq:found-noise)
```

````{solution} ex-family-distance
:class: dropdown
Inside.

```python
assert {"{eq}"}
```
````
Last."""


def test_a_text_in_plain_words():
    assert (
        references.plain(TEXT, KNOWN, "05_sigma.ipynb")
        == """\
# X

See [(4.3)](04_non_markov.ipynb), and `code`.

**Lemma 4.1** (Same marginals). A formula:

$$
x = 1
\\tag{4.1}
$$

<details>
<summary>Solution of Exercise 4.1</summary>

Inside.

```python
assert {"{eq}"}
```

</details>
Last."""
    )


def test_a_text_for_jupyterlab_keeps_its_directives_and_is_numbered_as_the_book():
    shown = references.linked(TEXT, KNOWN, "05_sigma.ipynb")
    assert '[(4.3)](04_non_markov.ipynb "{eq}eq:q-sigma-step")' in shown
    assert ":label: lem-same-marginals\n:enumerator: 4.1\n" in shown
    assert ":::{math}\n:label: eq:found-noise\n:enumerator: 4.1\nx = 1\n:::" in shown
    assert references.unlinked(shown) == TEXT
    new = "$$\ny = 2\n$$ (eq:being-written)\n\n{eq}`eq:being-written` and {nothing}`of the kind`"
    assert references.unlinked(references.linked(new, KNOWN, "05_sigma.ipynb")) == new


@pytest.mark.skipif(
    not os.environ.get("SITE"), reason="no built book: SITE=_build/html pytest tests/test_references.py"
)
def test_numbers_are_those_of_the_built_pages():
    found = {}
    for page in sorted(Path(os.environ["SITE"], "chapters").glob("[0-9]*.html")):
        html = page.read_text(encoding="utf-8")
        for label, number in re.findall(r'id="equation-([\w-]+)">\s*<span class="eqno">(\([\d.]+\))', html):
            found[label.replace("eq-", "eq:", 1)] = number
        figures = r'<figure class="[^"]*" id="([\w-]+)">.*?<span class="caption-number">([^<]*)</span>'
        box = r'class="(?:proof \w+|exercise) admonition" id="([\w-]+)">\s*<p class="admonition-title">'
        found |= {name: number.strip() for name, number in re.findall(figures, html, re.DOTALL)}
        found |= {name: number.strip() for name, number in re.findall(box + r"(?:<span[^>]*>)?([^<(]*)", html)}
    assert len(found) > 400
    assert {label: KNOWN.named[label][0] for label in found} == found

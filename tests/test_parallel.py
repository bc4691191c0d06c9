"""What makes the book's build quick, several processes, code in few tags and more; and that nothing is lost by it."""

from __future__ import annotations

import os
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.styles import get_style_by_name
from sphinx.application import Sphinx
from sphinx.domains import Domain
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "book" / "_ext")]
import glossary_tips  # noqa: E402
import in_parallel  # noqa: E402
import module_pages  # noqa: E402
import search_texts  # noqa: E402
import spare_spans  # noqa: E402

STYLES = [get_style_by_name(f"a11y-high-contrast-{mode}") for mode in ("light", "dark")]

# ---------------------------------------------------------------- several processes


def where_it_ran(number: int) -> tuple[int, int]:
    return number, os.getpid()


def test_work_is_shared_among_processes_and_comes_back_in_order(monkeypatch):
    monkeypatch.setenv("BOOK_JOBS", "2")
    done = in_parallel.each(where_it_ran, iter(range(9)))
    assert [number for number, _ in done] == list(range(9)) and os.getpid() not in {pid for _, pid in done}
    monkeypatch.setenv("BOOK_JOBS", "1")
    assert {pid for _, pid in in_parallel.each(where_it_ran, range(9))} == {os.getpid()}
    assert in_parallel.each(where_it_ran, []) == []


@pytest.mark.parametrize("asked", ["", "0", "many", "-2"])
def test_as_many_processes_as_processors_unless_a_number_is_asked_for(monkeypatch, asked):
    monkeypatch.setenv("BOOK_JOBS", asked)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    assert in_parallel.jobs() == 3
    monkeypatch.setenv("BOOK_JOBS", "5")
    assert in_parallel.jobs() == 5


def test_only_the_extensions_that_are_known_to_be_safe_are_answered_for():
    class Proofs(Domain):
        name = "prf"

    silent, other = (SimpleNamespace(parallel_read_safe=None) for _ in range(2))
    app = SimpleNamespace(
        extensions={in_parallel.SILENT: silent, "another": other}, registry=SimpleNamespace(domains={"prf": Proofs})
    )
    in_parallel.allow(app, None)
    assert silent.parallel_read_safe is True and other.parallel_read_safe is None
    domain = object.__new__(Proofs)
    domain.merge_domaindata(["a"], {"version": 0})
    with pytest.raises(NotImplementedError, match="prf has data of its own now"):
        domain.merge_domaindata(["a"], {"version": 0, "proofs": []})
    refuses = SimpleNamespace(parallel_read_safe=False)
    app.extensions[in_parallel.SILENT] = refuses
    in_parallel.allow(app, None)
    assert refuses.parallel_read_safe is False


# ---------------------------------------------------------------- the contents beside each page


@pytest.fixture
def small_book(tmp_path):
    """A Sphinx that has read five pages: parts with captions, a page below a page, sections."""
    pages = {
        "index": "Home\n====\n\n.. toctree::\n   :caption: One\n   :numbered:\n\n   a\n   folder/b\n\nEnd\n---\n\n"
        ".. toctree::\n   :caption: Two\n   :hidden:\n\n   d\n",
        "a": "A *page*\n========\n\nPart\n----\n\nInner\n~~~~~\n",
        "folder/b": "B\n=\n\nPart\n----\n\n.. toctree::\n   :hidden:\n\n   c\n",
        "folder/c": "C\n=\n\n.. function:: f(x)\n",
        "d": "D\n=\n",
    }
    (tmp_path / "folder").mkdir()
    for name, text in pages.items():
        (tmp_path / f"{name}.rst").write_text(text)
    with patch_docutils(), docutils_namespace():
        folders = [str(tmp_path), None, str(tmp_path / "html"), str(tmp_path / "doctrees")]
        app = Sphinx(*folders, "html", status=None, warning=None)
        app.builder.read()
        app.builder.prepare_writing(set(pages))
        yield app


@pytest.mark.parametrize("name", ["index", "a", "folder/b", "folder/c", "d", "_modules/x/y", "_modules/x/z", "search"])
@pytest.mark.parametrize(
    "asked",
    [
        {"collapse": False, "maxdepth": 4, "includehidden": True, "titles_only": True},
        {"collapse": True, "maxdepth": 1, "titles_only": True},
        {"collapse": False, "maxdepth": "", "includehidden": True},
    ],
)
def test_contents_without_sections_are_those_of_sphinx(small_book, name, asked):
    sphinx_s = small_book.builder._get_local_toctree(name, **asked)
    module_pages.shorten(small_book)
    ours = small_book.builder._get_local_toctree
    first = [ours(other, **asked) for other in ("_modules/x/first", "folder/c")]
    assert ours(name, **asked) == sphinx_s == ours(name, **asked)
    assert [ours(other, **asked) for other in ("_modules/x/first", "folder/c")] == first
    assert ("D</a>" in sphinx_s) == bool(asked.get("includehidden"))


def test_a_module_of_which_no_page_shows_anything_has_no_page():
    env = SimpleNamespace(
        _viewcode_modules={"a": ("", {}, {"f": "api"}, "a"), "typing": ("", {}, {}, "typing"), "b": False}
    )
    module_pages.clear(None, env)
    assert sorted(env._viewcode_modules) == ["a", "b"]
    module_pages.clear(None, SimpleNamespace())


# ---------------------------------------------------------------- code in few tags


class Seen(HTMLParser):
    """Each visible letter of a block, with the class that it takes its look from."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.letters, self.tags = [], [], 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.open.append((tag, dict(attrs).get("class", "")))
        self.tags += 1

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        inner = next((name for tag, name in reversed(self.open) if tag == "span" and name), "")
        self.letters += [(letter, inner) for letter in data if not letter.isspace()]


def rules(style) -> dict[str, str]:
    """Class -> what the style sheet of Pygments says of it."""
    lines = HtmlFormatter(style=style).get_token_style_defs("")
    return {line.partition("{")[0].strip(" ."): line.partition("{")[2].partition("}")[0].strip() for line in lines}


SOURCE = '''@decorated
class A(Base, key=None):
    """A docstring."""

    def __init__(self, x: float = 0x1F, *, name="a" "b", raw=rb"\\d") -> None:  # with a comment
        assert self.x[..., ::-1] @ y != {1: f"{x!r:>{width}} and\\n", **more}; raise ValueError(print(NotImplemented))
'''


@pytest.mark.parametrize("source", [SOURCE, (ROOT / "ddim_edu" / "sampler.py").read_text(encoding="utf-8")])
def test_code_looks_the_same_in_a_third_of_the_tags(source):
    lexer, formatter = get_lexer_by_name("python"), spare_spans.formatter(STYLES)
    before = highlight(source, lexer, HtmlFormatter())
    after = highlight(source, lexer, formatter())
    old, new = Seen(before), Seen(after)
    assert [letter for letter, _ in old.letters] == [letter for letter, _ in new.letters]
    assert new.tags < 0.55 * old.tags and len(after) < 0.65 * len(before)
    for style in STYLES:
        says = rules(style)
        assert [says[name] for _, name in old.letters] == [says[name] for _, name in new.letters]
    assert len(before.split("<pre>")) == len(after.split("<pre>")) == 2  # where viewcode cuts
    assert before.count("\n") == after.count("\n") and after.endswith("</span></pre></div>\n")


@pytest.mark.parametrize(
    ("language", "source"),
    [("pycon", ">>> x = 1\n>>> x\n1\n"), ("bash", "make book && ls -l _build"), ("text", "a line\nanother")],
)
def test_a_block_with_pieces_that_look_like_the_page_stays_as_it_is(language, source):
    lexer = get_lexer_by_name(language)
    assert highlight(source, lexer, spare_spans.formatter(STYLES)()) == highlight(source, lexer, HtmlFormatter())


def test_code_within_a_line_stays_as_it_is_too():
    lexer, formatter = get_lexer_by_name("python"), spare_spans.formatter(STYLES)
    assert highlight("x[1]", lexer, formatter(nowrap=True)) == highlight("x[1]", lexer, HtmlFormatter(nowrap=True))


def test_where_styles_differ_classes_do():
    """In one style numbers look like names, in the other they do not: they keep a class of their own."""
    both = spare_spans.classes(spare_spans.looks([get_style_by_name("bw"), STYLES[0]]))
    one = spare_spans.classes(spare_spans.looks([STYLES[0]]))
    assert set(one.values()) > {"", "k", "o"} and len(set(both.values())) >= 1 and both != one


# ---------------------------------------------------------------- the search reads pages


PAGE = r"""<html><nav>out</nav><article class="bd-article"><!-- no --><section id="a"><span id="more"></span><h1>1. One
<a class="headerlink" href="#a">#</a></h1><p>with \(\bar\alpha_t\) &amp; 1 &lt; 2<br>on<img alt="x>y" src="z"/></p>
<div class="cell docutils"><div class="cell_input"><div class="highlight"><pre>code <span>x</span></pre></div></div>
<div class="cell_output"><p>42</p></div></div><script>if (a < b) { "<p>" }</script><p>after</p>
<section id="b"><h2>1.1. Two</h2><p>words <em>of<b>it</b></em></p><div class="exercise admonition" id="ex-c">
<p class="admonition-title"><span>Exercise 3.2 </span> (Code: it)</p><section id="content"><p>do</p><ul><li>x<li>y</ul>
</section></div><p>end</p></section></section><section id="none"><p>no heading</p></section>
<dl><dt id="f"><code>f</code>(x)</dt><dt id="g"><code>g</code>(x)</dt><dd>maps<dl><dt id="g.m">m</dt><dd>in it</dd></dl>
</dd><dt id="term-x">x<a class="headerlink">#</a></dt><dd>a word</dd></dl></article><footer>out</footer></html>"""


def by_beautiful_soup(page: str) -> list[list[str]]:
    """The same by another parser."""
    bs4 = pytest.importorskip("bs4")
    soup = bs4.BeautifulSoup(page, "html.parser", parse_only=bs4.SoupStrainer("article"))
    for comment in soup.find_all(string=lambda text: isinstance(text, bs4.Comment)):
        comment.extract()
    names = [name for name in search_texts.LEFT_OUT]
    for element in soup.select(", ".join(names)):
        element.decompose()
    found = []
    for element in reversed(soup.select("section[id], div.exercise[id], dt[id]")):
        name = element["id"]
        if element.name == "dt":
            body = element.find_next_sibling("dd")
            title = search_texts.plain(element.extract().get_text(" ")) if name.startswith("term-") else name
            found.append([name, title, search_texts.plain(body.extract().get_text(" ")) if body else ""])
            continue
        heading = element.find(["h1", "h2", "h3", "h4", "h5", "h6"], recursive=False)
        heading = heading or element.find(class_="admonition-title")
        if heading is not None:
            title = search_texts.plain(heading.extract().get_text(" ")).replace("( ", "(")
            found.append([name, title, search_texts.plain(element.extract().get_text(" "))])
    return found[::-1]


def test_sections_are_those_that_beautiful_soup_finds():
    rows = search_texts.sections(PAGE)
    assert rows == by_beautiful_soup(PAGE)
    assert [row[0] for row in rows] == ["a", "b", "ex-c", "f", "g", "g.m", "term-x"]
    assert rows[0] == ["a", "1. One", "with ᾱ_t & 1 < 2 on after"] and rows[2][2] == "do x y"
    assert search_texts.sections("<p>no article</p>") == []


# ---------------------------------------------------------------- the glossary


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("noise schedule", "of a Noise-schedule"),
        ("noise schedule", "Noise schedules"),
        ("level", "Levels"),
        ("x-prediction", "some x-predictions"),
        ("Tweedie’s formula", "by Tweedie's formula"),
        ("DDIM", "two DDIMs"),
        ("ε-prediction", "an ε-prediction"),
    ],
)
def test_no_text_with_a_term_is_passed_over(term, text):
    assert glossary_tips.pattern(term).search(text) and glossary_tips.may_hold(text.lower(), term)
    assert not glossary_tips.may_hold("nothing of this kind", term)

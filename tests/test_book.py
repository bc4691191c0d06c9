"""The book's own machinery: nothing loads from the network, no chapter and no public function is left out, execution
repeats.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import inspect
import io
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import yaml
from docutils import nodes
from docutils.utils import new_document
from PIL import Image

import ddim_edu

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"book_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sys.path[:0] = [str(BOOK / "_ext"), str(BOOK / "_tools")]  # the extensions import one another, and so do the tools
import browser_code  # noqa: E402
import katex_math  # noqa: E402
import references  # noqa: E402
import rests_on  # noqa: E402

check_offline = load(BOOK / "_tools" / "check_offline.py")
execute = load(BOOK / "_tools" / "execute.py")
mount_chapters = load(BOOK / "_ext" / "mount_chapters.py")
math_punctuation = load(BOOK / "_ext" / "math_punctuation.py")
chapter_head = load(BOOK / "_ext" / "chapter_head.py")
glossary_tips = load(BOOK / "_ext" / "glossary_tips.py")
icons_prune = load(BOOK / "_ext" / "icons_prune.py")
css_prune = load(BOOK / "_ext" / "css_prune.py")
link_preview = load(BOOK / "_ext" / "link_preview.py")
dark_figures = load(BOOK / "_ext" / "dark_figures.py")
downloads = load(BOOK / "_ext" / "downloads.py")
sounds_apart = load(BOOK / "_ext" / "sounds_apart.py")
pdf = load(BOOK / "_tools" / "pdf.py")

# ---------------------------------------------------------------- the offline check


@pytest.fixture
def site(tmp_path):
    (tmp_path / "local.css").write_text("body { background: url(dot.png) } /* url(https://a.example/old.png) */")
    (tmp_path / "index.html").write_text(
        """<!DOCTYPE html><html><head><link rel="canonical" href="https://a.example/">
        <link rel="stylesheet" href="local.css?v=3"><script>if (x) { location.href = "https://a.example/" }</script>
        </head><body><a href="https://a.example/paper.pdf">a paper</a><p>src="https://a.example/x.js" in the text</p>
        <img src="data:image/png;base64,AAAA"></body></html>"""
    )
    return tmp_path


def test_a_page_that_only_links_out_passes(site, capsys):
    assert check_offline.main([str(site)]) == 0
    assert capsys.readouterr().out == "1 pages, no loads from the network\n"


@pytest.mark.parametrize(
    "planted",
    [
        '<script src="https://a.example/x.js"></script>',
        "<script src='//a.example/x.js'></script>",
        "<SCRIPT SRC=https://a.example/x.js></SCRIPT>",
        '<img alt="" src="http://a.example/x.png">',
        '<img alt="" src="local.css" srcset="local.css 1x, https://a.example/x.png 2x">',
        '<iframe src="https://a.example/"></iframe>',
        '<iframe srcdoc="&lt;script src=https://a.example/x.js&gt;&lt;/script&gt;"></iframe>',
        '<video poster="https://a.example/x.png"></video>',
        '<video><source src="https://a.example/x.mp4"></video>',
        '<audio src="https://a.example/x.mp3"></audio>',
        '<object data="https://a.example/x.svg"></object>',
        '<embed src="https://a.example/x.pdf">',
        '<svg><image href="https://a.example/x.png"/></svg>',
        '<svg><use xlink:href="https://a.example/x.svg#a"/></svg>',
        '<link rel="stylesheet" href="https://a.example/x.css">',
        '<link href="https://a.example/x.css">',
        '<link rel="preconnect" href="https://a.example">',
        '<link rel="dns-prefetch" href="//a.example">',
        '<link rel="preload" as="font" href="https://a.example/x.woff2">',
        '<link rel="shortcut icon" href="https://a.example/x.ico">',
        '<link rel="manifest" href="https://a.example/x.json">',
        '<base href="https://a.example/">',
        '<meta http-equiv="refresh" content="3; url=https://a.example/">',
        '<p style="background: url(https://a.example/x.png)">x</p>',
        "<style>@import 'https://a.example/x.css';</style>",
        '<style>@font-face { src: url( "https://a.example/x.woff2" ) }</style>',
        '<script>fetch("https://a.example/data.json")</script>',
        '<script type="module">import x from "https://a.example/x";</script>',
        "<script type=module>import 'https://a.example/x'</script>",
        "<script>await import(`https://a.example/x`)</script>",
        '<script>new Worker("https://a.example/x")</script>',
        '<script>new WebSocket("wss://a.example")</script>',
        '<script>r.open("GET", "https://a.example/x")</script>',
        '<script>s.src = "https://a.example/x"</script>',
        '<script>const THEBE_JS_URL = "https://a.example/lib/index.js"</script>',
        """<button onclick="fetch('https://a.example/x')">x</button>""",
        '<script src="gone.js"></script>',
        '<img alt="" src="_images/gone.png">',
    ],
)
def test_a_planted_load_is_found(site, capsys, planted):
    page = site / "index.html"
    page.write_text(page.read_text() + "\n" + planted)
    assert check_offline.main([str(site)]) == 1
    fault = capsys.readouterr().err
    assert fault.startswith("index.html:5: ") and fault.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.css", "@import url(https://a.example/x.css);"),
        ("_static/x.css", ".a{background:url(//a.example/x.png)}"),
        ("x.js", 'fetch("https://a.example/x")'),
        ("x.mjs", 'export * from "https://a.example/x"'),
        ("x.svg", '<svg><image href="https://a.example/x.png"/></svg>'),
        ("sub/page.html", '<script src="../../gone.js"></script>'),
    ],
)
def test_other_files_of_the_site_are_read_too(site, name, text):
    path = site / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert check_offline.main([str(site)]) == 1


def test_nothing_to_check_is_an_error(tmp_path, capsys):
    assert check_offline.main([str(tmp_path)]) == 2
    assert check_offline.main([str(tmp_path / "missing")]) == 2
    assert check_offline.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 3


# ---------------------------------------------------------------- the table of contents


def test_the_contents_name_every_chapter_and_every_page():
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    named = [toc["root"]]
    entries = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    while entries:
        entry = entries.pop(0)
        named.append(entry["file"])
        entries += entry.get("sections", [])
    assert len(named) == len(set(named))
    chapters = [name.removeprefix("chapters/") for name in named if name.startswith("chapters/")]
    assert chapters == sorted(path.stem for path in (ROOT / "chapters").glob("*.py"))
    assert chapters == sorted(path.stem for path in (ROOT / "chapters").glob("*.ipynb"))
    pages = {
        path.relative_to(BOOK).with_suffix("").as_posix() for path in BOOK.rglob("*.md") if "chapters" not in path.parts
    }
    assert {name for name in named if not name.startswith("chapters/")} == pages


def make_book(folder: Path) -> Path:
    (folder / "chapters").mkdir()
    (folder / "chapters" / "01_x.ipynb").write_text("first")
    (folder / "book").mkdir()
    return folder / "book"


def test_chapters_are_linked_into_the_book(tmp_path):
    book = make_book(tmp_path)
    for _ in range(2):
        assert (mount_chapters.mount(book) / "01_x.ipynb").read_text() == "first"
    assert (book / "chapters").is_symlink()


def test_where_links_are_not_allowed_each_build_copies_anew(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    book = make_book(tmp_path)
    assert (mount_chapters.mount(book) / "01_x.ipynb").read_text() == "first"
    (tmp_path / "chapters" / "01_x.ipynb").unlink()
    (tmp_path / "chapters" / "02_y.ipynb").write_text("second")
    mounted = mount_chapters.mount(book)
    assert (mounted / "02_y.ipynb").read_text() == "second" and not (mounted / "01_x.ipynb").exists()


def test_a_folder_of_the_users_own_is_not_deleted(tmp_path):
    book = make_book(tmp_path)
    (book / "chapters").mkdir()
    (book / "chapters" / "mine.ipynb").write_text("work")
    with pytest.raises(mount_chapters.ExtensionError, match="in the way"):
        mount_chapters.mount(book)
    assert (book / "chapters" / "mine.ipynb").read_text() == "work"


# ---------------------------------------------------------------- executing chapters

CHAPTER = """# %% [markdown]
# # A title

# %%
x = 2

# %% tags=["hide-input"] mystnb={"image": {"alt": "none"}}
print(x * 21)
"""


@pytest.fixture(autouse=True)
def no_stored_hashes(tmp_path_factory, monkeypatch):
    """Chapters of tests leave the book's own record alone."""
    monkeypatch.setattr(rests_on, "STORED", tmp_path_factory.mktemp("results") / "chapter_hashes.json")


def test_executing_repeats_byte_for_byte_and_keeps_ids(tmp_path, capsys):
    py, ipynb = tmp_path / "01_x.py", tmp_path / "01_x.ipynb"
    py.write_text(CHAPTER)
    assert execute.main([str(py)]) == 0
    first = ipynb.read_bytes()
    assert b'"42\\n"' in first and b"version_info" not in first and sys.version.split()[0].encode() not in first

    assert execute.main([str(py)]) == 0
    assert capsys.readouterr().out.endswith("nothing edited\n") and ipynb.read_bytes() == first
    assert execute.main([str(py), "--force"]) == 0
    assert ipynb.read_bytes() == first

    py.write_text(CHAPTER.replace("# %%\nx = 2", "# %%\nx = 3\n\n# %%\ny = 1"))
    assert execute.main([str(py)]) == 0
    before, after = nbformat.reads(first.decode(), 4).cells, nbformat.read(ipynb, 4).cells
    assert [after[i].id for i in (0, 1, 3)] == [cell.id for cell in before]
    assert after[2].id not in {cell.id for cell in before} and after[3].outputs[0].text == "63\n"


def test_an_edited_text_keeps_the_outputs_and_an_edited_cell_does_not(tmp_path, capsys):
    py, ipynb = tmp_path / "01_x.py", tmp_path / "01_x.ipynb"
    clock = CHAPTER.replace("print(x * 21)", "import time; print(time.time_ns())")
    py.write_text(clock)
    assert execute.main([str(py)]) == 0
    printed = nbformat.read(ipynb, 4).cells[2].outputs[0].text
    py.write_text(
        clock.replace("# # A title", "# # Another\n#\n# text").replace('["hide-input"]', '["hide-cell"]')
        + "\n# %% [markdown]\n# End\n"
    )
    assert execute.main([str(py)]) == 0 and capsys.readouterr().out.endswith("outputs kept\n")
    cells = nbformat.read(ipynb, 4).cells
    assert (
        cells[0].source == "# Another\n\ntext"
        and cells[3].source == "End"
        and cells[2].metadata["tags"] == ["hide-cell"]
    )
    assert cells[2].outputs[0].text == printed and execute.is_current(py, ipynb)

    py.write_text(py.read_text().replace("x = 2", "x = 3"))
    assert execute.main([str(py)]) == 0 and capsys.readouterr().out.endswith("executed\n")
    assert nbformat.read(ipynb, 4).cells[2].outputs[0].text != printed


def test_a_cell_that_raises_is_named_in_one_line(tmp_path, capsys):
    py, ipynb = tmp_path / "01_x.py", tmp_path / "01_x.ipynb"
    py.write_text("# %%\nx = 1\n\n# %%\ny = 0\n1 / y\n")
    ipynb.write_text("")
    ipynb.unlink()
    assert execute.main([str(py)]) == 1
    message = capsys.readouterr().err
    assert message == "01_x.py:5: cell 2 ('y = 0'): ZeroDivisionError: division by zero\n"
    assert not ipynb.exists()


def test_a_chapter_that_is_not_there(tmp_path, capsys):
    assert execute.main([str(tmp_path / "99_x.py")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# ---------------------------------------------------------------- the reference of the package


def modules() -> list[str]:
    found = pkgutil.walk_packages(ddim_edu.__path__, "ddim_edu.")
    return [info.name for info in found if not info.ispkg and not info.name.rpartition(".")[2].startswith("_")]


def test_the_api_pages_show_every_module():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (BOOK / "api").glob("*.md"))
    shown = re.findall(r"^\.\. automodule:: (\S+)\n((?:   :.*\n)*)", pages, flags=re.MULTILINE)
    assert sorted(name for name, _ in shown) == sorted(modules())
    for name, options in shown:
        assert ":members:\n" in options and "exclude" not in options, name


@pytest.mark.parametrize("name", modules())
def test_what_is_public_has_a_docstring_and_so_is_shown(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for what, value in public(vars(module)):
        if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == name:
            assert own_doc(value), f"{name}.{what} has no docstring, so the API page leaves it out"
            for method, member in public(vars(value)) if inspect.isclass(value) else ():
                if inspect.isroutine(member) or isinstance(member, property | classmethod | staticmethod):
                    assert inspect.getdoc(getattr(value, method)), f"{name}.{what}.{method} has no docstring"


def public(names) -> list:
    return [(name, value) for name, value in names.items() if not name.startswith("_")]


def own_doc(value) -> str:
    """The docstring that someone wrote: a dataclass without one gets its signature."""
    doc = value.__doc__ or ""
    return "" if doc.startswith(f"{value.__name__}(") else doc


# ---------------------------------------------------------------- formulas


def test_what_is_attached_to_a_formula_stays_with_it():
    text, math = nodes.Text, lambda: nodes.math("", "x")
    line = nodes.paragraph(
        "", "", text("so ("), math(), text("), and "), math(), text("-axis, "), math(), text(" alone"), math()
    )
    document = new_document("page")
    document += line
    before = line.astext()
    math_punctuation.attach(None, document, "page")
    assert [piece.astext() for piece in document.findall(nodes.inline)] == ["(x),", "x-"]
    assert line.astext() == before and len(list(document.findall(nodes.math))) == 4


# ---------------------------------------------------------------- the heads of the chapters, the glossary, the PDF


def chapters() -> list[Path]:
    return sorted((ROOT / "chapters").glob("*.py"))


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_chapter_says_which_modules_it_opens(path):
    document = new_document("page")
    (sentence,) = re.findall(
        rf"^# ({chapter_head.OPENS} .*(?:\n# \S.*)*)", path.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    for i, part in enumerate(re.split(r"\{py:mod\}`([^`]*)`", sentence)):
        document += nodes.literal(part, part) if i % 2 else nodes.Text(part)
    paragraph = nodes.paragraph("", "", *[node.deepcopy() for node in document.children])
    document.clear()
    document += paragraph
    opened = chapter_head.opened(document)
    assert opened and all(importlib.util.find_spec(f"ddim_edu.{name}") for name in opened)


def test_every_chapter_was_timed():
    times = json.loads((ROOT / "results" / "chapter_times.json").read_text(encoding="utf-8"))["chapters"]
    assert sorted(times) == [path.stem for path in chapters()]
    assert all(0.5 < entry["cpu_seconds"] < 60 for entry in times.values())


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 second"), (1.4, "1 second"), (11.8, "12 seconds"), (16.0, "15 seconds"), (33.0, "35 seconds")],
)
def test_durations_are_said_coarsely(seconds, said):
    assert chapter_head.duration(seconds) == said


def test_the_reading_time_counts_words_formulas_and_cells_but_no_solutions():
    document = new_document("page")
    document += nodes.paragraph("", "word " * 1500)
    assert chapter_head.minutes_to_read(document) == 10
    document += [nodes.math_block("", "x") for _ in range(10)]
    assert chapter_head.minutes_to_read(document) == 15
    document += nodes.container("", nodes.paragraph("", "word " * 1500), classes=["solution"])
    assert chapter_head.minutes_to_read(document) == 15


@pytest.mark.parametrize(
    ("term", "text", "found"),
    [
        ("level", "at each level t", "level"),
        ("level", "Levels are numbers", "Levels"),
        ("level", "levelled", None),
        ("level", "a noise-level", None),
        ("score", "the score of x", "score"),
        ("score", "it scores 1", None),
        ("FID", "an FID of 4", "FID"),
        ("FID", "CFID", None),
        ("Euler’s method", "by Euler's method", "Euler's method"),
        ("noise schedule", "a noise schedule", "noise schedule"),
        ("DDIM", "DDIM’s loss", None),
    ],
)
def test_words_of_the_glossary_are_found_as_words(term, text, found):
    match = glossary_tips.pattern(term).search(text)
    assert (match and match[0]) == found


def test_the_pdf_holds_every_chapter_and_needs_a_book(tmp_path, capsys):
    names = pdf.pages(BOOK / "_toc.yml")
    assert [name for name in names if name.startswith("chapters/")] == [f"chapters/{path.stem}" for path in chapters()]
    assert pdf.main([]) == 2 and pdf.main([str(tmp_path), str(tmp_path / "x.pdf")]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_icons_that_no_page_shows_leave_the_script():
    script = (
        'x={"arrow-up":[384,512,[8593],"f062","M2"],bars:[448,512,["navicon"],"f0c9","M0"],'
        '"file":[5,5,[],"f1c1",["M1","M2"]]};y=1'
    )
    assert icons_prune.without(script, {"arrow-up", "lg"}) == 'x={"arrow-up":[384,512,[8593],"f062","M2"],};y=1'
    assert icons_prune.without(script, {"navicon"}) == 'x={bars:[448,512,["navicon"],"f0c9","M0"],};y=1'
    assert icons_prune.without(script, {"arrow-up", "bars", "file"}) == script


def test_the_font_of_icons_keeps_what_style_sheets_draw():
    assert icons_prune.signs('.a::before { content: "\\f107" } .b { content: "\uf0f3"; width: "\\0041" }') == {
        0xF107,
        0xF0F3,
    }


@pytest.mark.parametrize(
    ("css", "left"),
    [
        (".card.shown, .gone, p { color: red }", ".card.shown,p{color: red}"),
        ("#top > .gone { a: b }", ""),
        ("@media print { .gone { a: b } .card { c: d } }", "@media print {.card{c: d}}"),
        ("@media print { .gone { a: b } }", ""),
        (
            "p:not(.gone), :is(.gone, .card) a, [class~=gone] { a: b }",
            "p:not(.gone),:is(.gone, .card) a,[class~=gone]{a: b}",
        ),
        ("@font-face { font-family: x }", "@font-face { font-family: x }"),
        (".sd-\\+x { a: b }", ""),
    ],
)
def test_rules_for_classes_that_no_page_has_leave_the_style_sheet(css, left):
    rules = css_prune.tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)
    assert css_prune.pruned(rules, {"card", "shown", "top"}).replace("{ ", "{").strip() == left.replace("{ ", "{")


def test_classes_are_looked_for_in_pages_and_in_scripts(tmp_path):
    (tmp_path / "live").mkdir()
    (tmp_path / "a.html").write_text('<p class="one-1 two">')
    (tmp_path / "live" / "page.js").write_text('e.classList.add("three"); e.id = "four_4"')
    (tmp_path / "searchindex.js").write_text('["five"]')
    found = css_prune.words(tmp_path)
    assert {"one-1", "two", "three", "four_4"} <= found and "five" not in found


def test_a_link_shows_whole_sentences_without_formulas():
    document = new_document("page")
    term = nodes.raw(
        "", '<span class="term"><a href="x">a loss</a><span class="meaning">A number.</span></span>', format="html"
    )
    first, second = nodes.paragraph(), nodes.paragraph("", f"Does it? {'X' * 300}. It does!")
    first += [
        nodes.Text("Of "),
        nodes.math("", "x_0"),
        nodes.Text(" much is left. Why\nnot "),
        term,
        nodes.Text("? And"),
    ]
    document += [first, second]
    assert link_preview.preview(document) == "Why not a loss? Does it?"
    assert link_preview.preview(new_document("empty")) == ""


def test_every_chapter_has_a_card_that_says_what_it_is_about():
    cards = link_preview.cards((BOOK / "index.md").read_text(encoding="utf-8"))
    assert {*cards} == {f"chapters/{path.stem}" for path in (ROOT / "chapters").glob("*.py")}
    assert all(20 < len(said) < link_preview.LONGEST and said[-1] in ".?" for said in cards.values())


def test_katex_is_copied_with_its_fonts_and_its_licence(tmp_path):
    katex_math.copy(SimpleNamespace(builder=SimpleNamespace(format="html"), outdir=tmp_path), None)
    out = tmp_path / "_static" / "katex"
    asked = re.findall(r"url\(fonts/([^)]+\.woff2)\)", (out / katex_math.STYLE).read_text())
    assert {*asked} == {path.name for path in (out / "fonts").iterdir()} and len(asked) == 20
    assert {path.name for path in out.iterdir()} == {*katex_math.SCRIPTS, katex_math.STYLE, "fonts", "LICENSE"}


def test_a_package_of_the_pages_that_is_missing_or_old_names_the_remedy(tmp_path):
    shutil.copy(ROOT / "package.json", tmp_path)
    with pytest.raises(browser_code.Missing, match="katex .*, and none is installed: run `make install`"):
        browser_code.find("katex", tmp_path)
    folder = tmp_path / "node_modules" / "katex"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"version": "0.1.0"}')
    with pytest.raises(browser_code.Missing, match="and 0.1.0 is installed"):
        browser_code.find("katex", tmp_path)


def test_of_the_packages_only_what_pages_use_is_kept(tmp_path):
    shutil.copy(ROOT / "package.json", tmp_path)
    names = ["katex/dist/katex.js", "onnxruntime-web/package.json", "long/index.js", "@types/node/index.d.ts"]
    names += [f"onnxruntime-web/dist/{name}" for name in (*browser_code.KEEP["onnxruntime-web"], "ort.js", "ort.map")]
    for name in names:
        (tmp_path / "node_modules" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "node_modules" / name).touch()
    browser_code.trim(tmp_path)
    modules = tmp_path / "node_modules"
    left = {path.relative_to(modules).as_posix() for path in modules.rglob("*") if path.is_file()}
    assert left >= {"katex/dist/katex.js", "onnxruntime-web/package.json"}
    assert not any("ort.js" in name or "ort.map" in name or name.startswith(("long", "@types")) for name in left)


def test_a_figure_is_stored_with_few_colours_and_looks_the_same():
    values = np.random.default_rng(0).normal(128, 40, (200, 300, 3)).clip(0, 255).astype(np.uint8)
    values[:20], values[20:40] = 255, (0, 114, 178)  # a margin, and a line's colour
    noisy, clear, few = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(values).convert("RGBA").save(noisy, "PNG")
    small = execute.fewer_colours(noisy.getvalue())
    assert len(small) < len(noisy.getvalue()) / 2 and execute.fewer_colours(small) == small
    found = np.asarray(Image.open(io.BytesIO(small)).convert("RGB")).astype(int)
    assert abs(found - values).mean() < 12 and (found[:20] > 250).all() and abs(found[20:40] - values[20:40]).max() < 8
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(clear, "PNG")
    assert execute.fewer_colours(clear.getvalue()) == clear.getvalue()
    Image.new("RGB", (90, 90), (7, 8, 9)).save(few, "PNG")
    assert Image.open(io.BytesIO(execute.fewer_colours(few.getvalue()))).convert("RGB").getpixel((3, 3)) == (7, 8, 9)


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_downloaded_notebook_has_all_cells_and_no_outputs(path):
    path = path.with_suffix(".ipynb")
    stored = nbformat.read(path, as_version=4)
    known = references.References()
    given = nbformat.reads(downloads.for_download(path.read_text(encoding="utf-8"), path.name, known), as_version=4)
    nbformat.validate(given)
    first, *others = given.cells
    assert first.source == downloads.NEEDS.rstrip()
    assert [cell.cell_type for cell in others] == [cell.cell_type for cell in stored.cells]
    for cell, kept in zip(others, stored.cells, strict=True):  # texts: tests/test_references.py
        assert cell.source == kept.source or cell.cell_type == "markdown"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in given.cells)


def test_a_downloaded_notebook_says_in_one_line_what_it_needs(tmp_path):
    def run(**environment):
        environment = {**os.environ, **environment}
        command = [sys.executable, "-c", downloads.NEEDS]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    there = run(PYTHONPATH=str(ROOT))
    assert (there.returncode, there.stderr) == (0, "")
    (tmp_path / "ddim_edu.py").touch()  # another thing of that name: not a package
    missing = run(PYTHONPATH=str(tmp_path))
    assert missing.returncode == 1 and missing.stderr.count("\n") == 1
    assert missing.stderr.startswith("Missing: ddim_edu.") and "pip install -e" in missing.stderr


def test_sounds_are_files_beside_the_page(tmp_path):
    text = base64.b64encode(b"RIFF one").decode()
    page = (
        f'<audio controls src="data:audio/wav;base64,{text}"></audio>'
        f'<audio controls><source src="data:audio/wav;base64,{text}" type="audio/wav" /></audio>'
        f'<a href="data:audio/wav;base64,{text}">kept</a><audio preload="auto" src="x.wav"></audio>'
    )
    found = sounds_apart.apart(page, tmp_path / "sounds", "../sounds/")
    (file,) = (tmp_path / "sounds").iterdir()
    assert file.read_bytes() == b"RIFF one"
    assert found.count(f'src="../sounds/{file.name}"') == 2 and found.count('<audio preload="none"') == 2
    assert found.count("data:audio") == 1 and '<audio preload="auto" src="x.wav">' in found


def test_words_are_not_looked_for_in_base64(tmp_path):
    (tmp_path / "net.js").write_text(f'x = "{"aB3+card/" * 40}"; e.className = "shown"')
    assert "shown" in css_prune.words(tmp_path) and "card" not in css_prune.words(tmp_path)


def test_the_lock_of_the_pages_packages_pins_their_bytes_and_names_no_registry():
    asked = json.loads((ROOT / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in asked.values())  # exact, not a range
    text = (ROOT / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    assert packages.pop("")["dependencies"] == asked and '"resolved"' not in text and "registry" not in text
    for name, version in asked.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())


def test_nothing_minified_is_in_git():
    """Code of others is declared and installed, not copied; a line of code that no one wrote shows by its length."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        assert not re.search(r"\.min\.\w+$|\.wasm|\.map$|\.woff2?$", name), name
        if name.endswith((".js", ".mjs", ".css")) and (ROOT / name).is_file():
            assert max(map(len, (ROOT / name).read_text(encoding="utf-8").splitlines()), default=0) < 300, name


def test_the_style_sheet_closes_every_brace():
    """One that is left open hides all that follows in it, and no tool says so."""
    for path in BOOK.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        depth = 0
        for character in text:
            depth += (character == "{") - (character == "}")
            assert 0 <= depth <= 2, path
        assert depth == 0, path


@pytest.mark.parametrize(
    ("source", "plot"),
    [
        ("fig, ax = figure()\nax.plot(x, y);", True),
        ("table1_figure(table)[0];", True),
        (
            "fig, axes = figure(2)\naxes[0].plot(x)\naxes[1].imshow(picture);",
            False,
        ),  # a negative of it would be another picture
        ("image_row(images);", False),
        ("print(3)", False),
    ],
)
def test_only_what_holds_no_picture_is_turned_over_in_the_dark(source, plot):
    assert dark_figures.is_plot(source) == plot

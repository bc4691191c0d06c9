"""Drawn faces: a function of their number, with every attribute known."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddim_edu.data import named
from ddim_edu.data.faces import attributes as table_module
from ddim_edu.data.faces import dataset, drawing, styles
from ddim_edu.data.faces.attributes import ATTRIBUTES, attributes, described, edited, encoded, values
from ddim_edu.data.faces.dataset import HELDOUT_FROM, read_faces
from ddim_edu.data.faces.drawing import draw, render
from ddim_edu.data.faces.reading import places, read, truth
from ddim_edu.data.faces.styles import STYLES
from ddim_edu.data.registry import load_data
from ddim_edu.measuring.novelty import fewest_changes, total_variation
from ddim_edu.models import load_classifier

drawn = pytest.mark.skipif(
    any(not importlib.util.find_spec(name) for name in ("dicebear", "dicebear_styles", "resvg_py")),
    reason='needs pip install "ddim_edu[faces]"',
)
K = len(STYLES)


def graphic(row) -> str:
    """The vector graphic of a face, without the marks in it that depend on the seed and on all options."""
    from dicebear import Avatar

    svg = Avatar(drawing._definition(tuple(STYLES)[row[0]]), drawing.options(row)).to_string()
    return re.sub(r"-[0-9a-f]{8}\b", "", svg)


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- attributes: no package, no pixels


def test_attributes_are_a_function_of_the_number():
    table = attributes(np.arange(400))
    assert table.shape == (400, len(ATTRIBUTES)) and table.dtype == np.int16
    assert np.array_equal(attributes([399, 7]), table[[399, 7]])
    assert attributes([]).shape == (0, len(ATTRIBUTES))
    with pytest.raises(ValueError, match="and not -1"):
        attributes([3, -1])


def test_known_rows():
    """A change of the hash or of the table makes other faces: whoever makes one raises FORMAT, and these."""
    assert described(attributes([0])[0]) == KNOWN[0] and described(attributes([HELDOUT_FROM + 3])[0]) == KNOWN[1]


def test_styles_take_turns_and_attributes_have_their_probabilities():
    table = attributes(np.arange(8000 * K))
    assert table[:9, 0].tolist() == [i % K for i in range(9)]
    for label, (name, style) in enumerate(STYLES.items()):
        rows = table[table[:, 0] == label]
        for column, attribute in enumerate(ATTRIBUTES):
            names = values(name, attribute)
            if not names:
                assert (rows[:, column] == -1).all()
                continue
            if attribute in ("style", "hair colour"):
                continue
            probability = style.parts[attribute].probability if attribute in style.parts else 1
            n = len(names) - (probability < 1)
            expected = np.array(([1 - probability] if probability < 1 else []) + [probability / n] * n)
            found = np.bincount(rows[:, column], minlength=len(names)) / len(rows)
            assert np.all(np.abs(found - expected) < 4.5 * np.sqrt(expected * (1 - expected) / len(rows))), (
                name,
                attribute,
            )


def test_attributes_are_independent_of_each_other_and_of_their_neighbours():
    table = attributes(np.arange(20_000))
    for rows in (table[table[:, 0] == k] for k in range(K)):
        columns = [c for c, a in enumerate(ATTRIBUTES) if rows[:, c].std() > 0 and a != "hair colour"]
        x = rows[:, columns].astype(float)
        both = np.corrcoef(np.hstack([x[1:], x[:-1]]).T) - np.eye(2 * len(columns))
        assert np.abs(both).max() < 5 / np.sqrt(len(x))


def test_heldout_faces_have_other_numbers_and_words_lead_back():
    for row in attributes(np.arange(200)):
        assert np.array_equal(encoded(described(row)), row)
    with pytest.raises(ValueError, match="held out: give at least 1"):
        read_faces(n_train=HELDOUT_FROM + 1)


def test_hair_colours_that_nobody_sees_are_none():
    table = attributes(np.arange(4000))
    colour, seen = ATTRIBUTES.index("hair colour"), set()
    for row in table:
        words = described(row)
        style = STYLES[words["style"]]
        bare = words["hair"] in style.bare and not (style.beard_coloured and words["beard"] != "none")
        assert (row[colour] == 0) == bare
        if words["hair"] in style.black:
            assert words["hair colour"] == "black"
        seen.add((words["style"], bare))
    assert {style for style, bare in seen if bare} == {"open-peeps", "micah", "personas"}


def face(style, **words):
    """The first face of a style that has these attributes."""
    for row in attributes(np.arange(20_000)):
        known = described(row)
        if known["style"] == style and all(known[a.replace("_", " ")] == v for a, v in words.items()):
            return row
    raise AssertionError("none")


def test_edits_change_what_they_name_and_nothing_else():
    row = face("micah", hair="full", beard="none")
    other = edited(row, {"glasses": "square" if described(row)["glasses"] != "square" else "round"})
    assert (other != row).sum() == 1 and other[ATTRIBUTES.index("glasses")] != row[ATTRIBUTES.index("glasses")]
    bald = edited(row, {"hair": "mrClean"})
    assert described(bald)["hair colour"] == "none" and (bald != row).sum() == 2
    assert described(edited(bald, {"beard": "scruff", "hair colour": "pink"}))["hair colour"] == "pink"
    mohawk = face("open-peeps", hair="mohawk", hair_colour="blue")
    assert described(edited(mohawk, {"hair": "afro"}))["hair colour"] == "black"
    for row, changes, words in (
        (bald, {"hair": "full"}, "shows a hair colour: give one"),
        (bald, {"hair colour": "blue"}, "has the hair colour 'none', not 'blue'"),
        (mohawk, {"hair": "afro", "hair colour": "blue"}, "has the hair colour 'black', not 'blue'"),
        (mohawk, {"hair": "wig"}, "faces of the style open-peeps have bangs"),
        (mohawk, {"eyes": "wink"}, "faces of the style open-peeps have no 'eyes'"),
        (mohawk, {"style": "micah"}, "an edit keeps the style"),
        (mohawk, {"hat": "top"}, "no attribute 'hat'; known"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            edited(row, changes)
        one_line(error)
    with pytest.raises(ValueError, match="needs background"):
        encoded({"style": "micah"})
    with pytest.raises(ValueError, match="no style 'cubist'"):
        encoded({"style": "cubist"})


# ---- those that come with the package


def test_shipped_faces_need_nothing_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "dicebear", None)
    found = dataset.shipped()
    assert found.pixels.shape == (64, 3, 64, 64) and found.pixels.dtype == np.uint8 and found.n_train == 0
    assert np.bincount(found.labels).tolist() == [64 // K] * K and (found.numbers >= HELDOUT_FROM).all()
    assert np.array_equal(found.attributes, attributes(found.numbers))
    said = json.loads((dataset._HERE / "faces.json").read_text(encoding="utf8"))
    assert said["credits"] == [styles.credits(style) for style in STYLES]


@drawn
def test_shipped_faces_are_those_that_are_drawn():
    found = dataset.shipped()
    again = draw(found.numbers[:4], 64, processes=1)
    assert np.abs(again.astype(int) - found.pixels[:4]).mean() < 1  # another version may round another way


# ---- pixels


@drawn
def test_faces_do_not_depend_on_how_many_are_drawn_nor_by_how_many_processes(monkeypatch):
    monkeypatch.setattr(drawing, "_BLOCK", 4)
    numbers = np.arange(5, 16)
    one = draw(numbers, 16, processes=1)
    assert one.shape == (len(numbers), 3, 16, 16) and np.array_equal(draw(numbers, 16, processes=2), one)
    assert np.array_equal(draw(numbers[[9, 3]], 16), one[[9, 3]])
    grey = draw(numbers[:2], 16, channels=1)
    luma = (one[:2].transpose(0, 2, 3, 1) @ np.array([0.299, 0.587, 0.114]))[:, None]
    assert grey.shape == (2, 1, 16, 16) and np.abs(grey - luma).max() < 1


@drawn
def test_nothing_of_a_face_is_left_to_chance():
    """Every option that DiceBear resolves is one that was handed to it, or is the same for all faces."""
    from dicebear import Avatar

    for row in attributes(np.arange(10 * K)):
        given, style = drawing.options(row), drawing._definition(tuple(STYLES)[row[0]])
        chosen = Avatar(style, given).to_json()["options"]
        assert Avatar(style, given | {"seed": "another"}).to_json()["options"] == chosen
        for name, part in STYLES[described(row)["style"]].parts.items():
            assert chosen.get(f"{part.component}Variant", "none") == described(row)[name]
        assert (
            chosen["rotate"] == 0
            and chosen["flip"] == "none"
            and chosen["backgroundColor"] == [f"#{given['backgroundColor']}"]
        )


@drawn
@pytest.mark.parametrize("style", STYLES)
def test_every_value_of_every_attribute_is_seen(style):
    """From a face, each attribute set to each other value: the drawing changes. Values of one attribute make different
    drawings.
    """
    start = face(
        style,
        beard="none",
        hair={"open-peeps": "mohawk", "micah": "full", "toon-head": "bun", "personas": "long"}[style],
    )
    for attribute in ATTRIBUTES[1:]:
        rows = [
            edited(start, {attribute: v}) for v in values(style, attribute) if (attribute, v) != ("hair colour", "none")
        ]
        assert len({graphic(row) for row in rows}) == len(rows)
    pixels = render(start, 32)
    for attribute in (
        "background",
        "skin",
        "hair",
        "hair colour",
        "clothes colour",
        "mouth" if style != "open-peeps" else "expression",
    ):
        now = described(start)[attribute]
        new = edited(start, {attribute: next(v for v in values(style, attribute) if v not in (now, "none"))})
        assert not np.array_equal(render(new, 32), pixels)
        assert np.array_equal(
            render(edited(new, {attribute: now, "hair colour": described(start)["hair colour"]}), 32), pixels
        )


@drawn
@pytest.mark.parametrize("style", STYLES)
def test_a_hair_colour_shows_where_the_table_says_so(style):
    """The table's sets of hair that is black or shows none agree with the style file, for every hair with and without a
    beard.
    """
    base = described(face(style))
    for hair in values(style, "hair"):
        for beard in values(style, "beard"):
            words = base | {"hair": hair, "beard": beard, "hair colour": "pink"}
            shows = described(table_module._plain(style, table_module._row(words)[None])[0])["hair colour"] == "pink"
            pink, blue = (
                graphic(table_module._row(words | {"hair colour": colour})) for colour in ("pink", "blue")
            )  # unchecked
            assert (pink != blue) == shows, (hair, beard)


@drawn
def test_licences_are_those_of_the_package():
    for name, style in STYLES.items():
        meta = drawing._definition(name).meta()
        assert (style.licence, style.licence_url) == (meta.license().name(), meta.license().url())
        assert (style.creator, style.creator_url) == (meta.creator().name(), meta.creator().url())
        assert (style.title, style.source) == (meta.source().name(), meta.source().url())
        assert style.licence in ("CC0 1.0", "CC BY 4.0")
        line = styles.credits(name)
        assert all(
            words in line for words in (style.title, style.source, style.creator, style.licence, style.licence_url)
        )
        assert (
            style.title in README and style.creator in README and style.licence_url in README and style.source in README
        )


README = (Path(__file__).parent.parent / "book" / "using.md").read_text(encoding="utf8")


@pytest.mark.parametrize(
    "size, channels, words", [(8, 3, "16 to 256"), (257, 3, "16 to 256"), (32, 2, "1 .grey. or 3")]
)
def test_sizes_that_can_not_be_had(size, channels, words):
    with pytest.raises(ValueError, match=words) as error:
        load_data("faces", size=size, channels=channels)
    one_line(error)


# ---- the data set and its cache


@pytest.fixture
def few(monkeypatch, tmp_path):
    """The data set with few faces, and a cache of its own."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("DDIM_EDU_CACHE", str(cache))
    whole = dataset.read_faces
    monkeypatch.setattr(named, "read_faces", lambda *a, **k: whole(*a, n_train=20, n_heldout=8, processes=1, **k))
    return cache


@pytest.fixture
def count(monkeypatch):
    """How many faces have been drawn in this process."""
    numbers, draw_one = [], drawing.render
    monkeypatch.setattr(drawing, "render", lambda row, *a: numbers.append(row) or draw_one(row, *a))
    return numbers


@drawn
def test_the_data_set(few, count):
    data = load_data("faces")
    assert (
        data.train.shape == (20, 3, 32, 32) and data.heldout.shape == (8, 3, 32, 32) and data.train.dtype == torch.uint8
    )
    assert data.classes == tuple(STYLES) and data.top == 255
    assert (
        torch.bincount(data.train_labels).tolist() == [5] * K
        and torch.bincount(data.heldout_labels).tolist() == [2] * K
    )
    assert data.heldout_labels[:K].tolist() == list(range(K)) and data.train_labels.dtype == torch.int64
    assert np.array_equal(data.train_attributes, attributes(np.arange(20)))
    assert np.array_equal(data.heldout_attributes, attributes(HELDOUT_FROM + np.arange(8)))
    assert np.array_equal(data.heldout[5], render(attributes([HELDOUT_FROM + 5])[0], 32))
    drawings = len(count)
    again = load_data("faces")
    assert len(count) == drawings and torch.equal(again.train, data.train) and torch.equal(again.heldout, data.heldout)
    assert data.to("meta").train_attributes.is_meta
    assert load_data("faces", size=16, channels=1).train.shape == (20, 1, 16, 16)
    assert len(list(few.glob("*.pixels"))) == 2


@drawn
@pytest.mark.parametrize("harm", ["pixels", "short", "about", "version"])
def test_a_damaged_cache_is_drawn_again(few, count, monkeypatch, capsys, harm):
    data = load_data("faces", size=16)
    pixels, about = (next(few.glob(f"*.{ending}")) for ending in ("pixels", "json"))
    if harm == "pixels":
        content = bytearray(pixels.read_bytes())
        content[100] ^= 1
        pixels.write_bytes(content)
    elif harm == "short":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif harm == "about":
        about.write_text("{")
    else:
        now = drawing.versions()
        monkeypatch.setattr(dataset, "versions", lambda: now | {"resvg-py": "99"})
    count.clear()
    again = load_data("faces", size=16)
    assert len(count) == 28 and torch.equal(again.train, data.train)
    assert ("is damaged: drawing" in capsys.readouterr().err) == (harm != "version")
    count.clear()
    load_data("faces", size=16)
    assert not count


@drawn
def test_a_cache_has_the_name_that_it_always_had(few, monkeypatch):
    """Or 33,000 faces would be drawn again: whoever makes one on purpose raises FORMAT, and this."""
    monkeypatch.setattr(dataset, "versions", lambda: {"dicebear-core": "1", "dicebear-styles": "2", "resvg-py": "3"})
    load_data("faces", size=16, channels=1)
    assert sorted(path.name for path in few.iterdir()) == [
        "faces-16x16x1-b5fae65ca7.json",
        "faces-16x16x1-b5fae65ca7.pixels",
    ]


@drawn
def test_a_drawing_that_is_cut_short_leaves_no_cache(few, monkeypatch):
    draw_one = drawing.render
    monkeypatch.setattr(drawing, "render", lambda row, *a: draw_one(row, *a) if row[0] != 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_data("faces", size=16)
    assert not list(few.iterdir())


@drawn
def test_a_cache_that_can_not_be_written(few, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="can't write the cache folder.*DDIM_EDU_CACHE") as error:
        load_data("faces", cache_dir=tmp_path / "file")
    one_line(error)


@drawn
def test_a_process_that_dies_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    script = "#!/bin/sh\necho 'Traceback' >&2\necho 'MemoryError: too much' >&2\nexit 1\n"
    (tmp_path / "python").write_text(script)
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(ValueError, match="ended early: MemoryError: too much") as error:
        draw(np.arange(2 * drawing._BLOCK), 16, processes=2)
    one_line(error)


def test_without_the_extra_it_is_one_line(few, monkeypatch):
    monkeypatch.setitem(sys.modules, "dicebear", None)
    for call in (lambda: load_data("faces"), lambda: render(attributes([0])[0], 32), lambda: draw([0], 32)):
        with pytest.raises(ValueError, match=r'pip install "ddim_edu\[faces\]"') as error:
            call()
        one_line(error)


def test_attributes_need_no_torch():
    code = "import sys; import ddim_edu.data.faces.attributes as a; a.attributes([8]); sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


KNOWN = (
    {"style": "open-peeps", "background": "rose", "skin": "pale", "hair": "noHair2", "hair colour": "none",
     "expression": "concerned", "beard": "none",
     "glasses": "none", "clothes colour": "blue"},
    {"style": "personas", "background": "mint", "skin": "dark", "hair": "sideShave", "hair colour": "ginger",
     "eyes": "sunglasses", "nose": "wrinkles", "mouth": "frown", "beard": "none", "clothes": "checkered",
     "clothes colour": "white"},
)  # fmt: skip


def test_what_a_network_says_has_the_form_of_a_table():
    """Logits that are right lead to the table, whatever stands where the style has nothing."""
    table = truth(0, torch.arange(200))
    assert table.tolist() == attributes(range(200)).tolist()
    logits = torch.rand(200, places()[-1][2].stop, generator=torch.Generator().manual_seed(0))
    ends = [0, *(place.stop for _, _, place in places())]
    assert ends == sorted(set(ends)) and [place.start for _, _, place in places()] == ends[:-1]
    for style, attribute, place in places():
        column = table[:, ATTRIBUTES.index(attribute)]
        own = torch.full((200,), True) if style == "" else table[:, 0] == list(STYLES).index(style)
        logits[own, place.start + column[own]] += 1
    assert read(logits).tolist() == table.tolist()


def test_shipped_judge_reads_shipped_faces():
    faces = dataset.shipped()
    pictures = F.avg_pool2d(torch.from_numpy(faces.pixels).float(), 2) / 127.5 - 1
    found = read(load_classifier("faces-attributes").model(pictures))
    right = (found == torch.from_numpy(faces.attributes))[torch.from_numpy(faces.attributes) >= 0]
    assert right.double().mean() > 0.9


def test_fewest_changes():
    """Against a loop; rows of a style that nobody has are all attributes away; a known row is 0 away."""
    generator = torch.Generator().manual_seed(0)
    rows, known = (torch.randint(3, (n, 5), generator=generator) for n in (150, 40))
    known = known[known[:, 0] < 2]
    found = fewest_changes(rows, known)
    for row, n in zip(rows.tolist(), found.tolist(), strict=True):
        assert n == min((sum(a != b for a, b in zip(row, k)) for k in known.tolist() if k[0] == row[0]), default=5)
    assert (fewest_changes(known, known) == 0).all() and (found[rows[:, 0] == 2] == 5).all()
    with pytest.raises(ValueError, match="same width"):
        fewest_changes(rows, known[:, :4])


def test_total_variation():
    a, b = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 1])
    assert total_variation(a, b, 3) == 0.5  # 1/2, 1/4, 1/4 beside 1/4, 3/4, 0
    assert total_variation(a, a, 3) == 0 and total_variation(a, torch.tensor([3]), 4) == 1
    with pytest.raises(ValueError, match="without values"):
        total_variation(a, a[:0], 3)

"""A course in a box: problem sets without solutions, the instructor's edition, and marks."""

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "book" / "_tools" / "course.py"
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(scope="module")
def course():
    spec = importlib.util.spec_from_file_location("course", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sources(notebook):
    return {cell["metadata"]["nbgrader"]["grade_id"]: "".join(cell["source"]) for cell in notebook["cells"]}


def test_every_exercise_is_in_a_problem_set(course):
    from ddim_edu.exercises import registry

    found = {}
    for chapter in CHAPTERS:
        for cell in course.problem_set(chapter).cells:
            about = cell.metadata["nbgrader"]
            if about["grade_id"].endswith("-check"):
                found[about["grade_id"].removesuffix("-check")] = about["points"]
                assert about["locked"] and not about["solution"]
    assert found == {label: one.stars for label, one in registry().items()}


def test_the_instructors_answers_are_right(course):
    """Also where the solution hands in something else than the names of the statement."""
    run = 0
    for chapter in CHAPTERS:
        cells = sources(course.problem_set(chapter))
        for name, answer in cells.items():
            label = name.removesuffix("-answer")
            if name == label or chapter.stem[:2] not in ("01", "02", "04"):
                continue
            space = {"__name__": label}
            exec(compile(answer, f"<{name}>", "exec"), space)
            exec(compile(cells[f"{label}-check"], f"<{label}-check>", "exec"), space)
            run += 1
    assert run == 13


def test_answers_get_the_names_of_the_statement(course):
    code = "from ddim_edu.exercises import check\nx = 1\nassert x\nassert check('ex-a', (x, f(x)))\nassert x == 1"
    assert course.split(code, "ex-a", "(one, two)") == "x = 1\nassert x\none, two = (x, f(x))\nassert x == 1"
    assert course.split(code, "ex-a", "(x, f(x))") == "x = 1\nassert x\nassert x == 1"
    with pytest.raises(ValueError, match="the solution of ex-b has no assert check"):
        course.split(code, "ex-b", "x")


def test_what_plain_markdown_lacks_is_said_in_words(course):
    said = course.plain("By {eq}`eq:mix` and {py:func}`~ddim_edu.forward.mix`, {prf:ref}`a-remark`, {cite:t}`ho2020`.")
    assert said == "By equation *mix* of the book and `mix`, *a-remark* of the book, [ho2020]."


def call(*words):
    return subprocess.run([sys.executable, TOOL, *map(str, words)], capture_output=True, text=True)


@pytest.mark.slow
def test_a_right_and_a_wrong_submission_are_marked(tmp_path):
    pytest.importorskip("nbgrader")
    box, sent = tmp_path / "course", tmp_path / "sent"
    done = call("make", box, "--chapters", 1)
    assert done.returncode == 0, done.stderr
    name = "01_forward.ipynb"
    release = json.loads((box / "release" / "01_forward" / name).read_text(encoding="utf8"))
    text = json.dumps(release)
    assert "SOLUTION" not in text and text.count("# your code here") == text.count("assert check(") == 5
    assert "11.05" not in text and "return 1 + abar_t" not in text

    for student in ("ada", "bob", "eve"):
        (sent / student).mkdir(parents=True)
    shutil.copy(box / "source" / "01_forward" / name, sent / "ada" / name)  # right
    for cell in release["cells"]:  # one right, one wrong, the others not tried
        cell_name = cell["metadata"]["nbgrader"]["grade_id"]
        if cell_name == "ex-forward-forget-answer":
            cell["source"] = "def variance(v_0, abar_t):\n    return 1 + abar_t * (v_0 - 1)"
        if cell_name == "ex-forward-no-shrink-answer":
            cell["source"] = "v = 2"
    (sent / "bob" / name).write_text(json.dumps(release), encoding="utf8")
    for cell in release["cells"]:  # one who edits the checks, and puts another check in their place
        if cell["metadata"]["nbgrader"]["grade_id"].endswith("-check"):
            cell["source"] = "assert True"
        elif cell["cell_type"] == "code":
            cell["source"] = "check = lambda *answer: True"
    (sent / "eve" / name).write_text(json.dumps(release), encoding="utf8")

    done = call("mark", sent, box)
    assert done.returncode == 0, done.stderr
    marks, exercises = (list(csv.DictReader(open(box / f"{table}.csv"))) for table in ("marks", "exercises"))
    points = {row["student"]: float(row["points"]) for row in marks}
    of = float(marks[0]["of"])
    assert points["ada"] == of > 5 and points["eve"] == 0
    assert {row["exercise"] for row in exercises if row["student"] == "bob" and float(row["points"])} == {
        "ex-forward-forget"
    }
    assert len(exercises) == 15 and [row["student"] for row in marks] == ["ada", "bob", "eve"]

    for words, says in [
        (("mark", tmp_path / "none", box), "holds no STUDENT/NAME.ipynb"),
        (("make", box), "holds submissions: name another folder"),
        (("make", tmp_path / "new", "--chapters", 99), "there is no chapter 99"),
    ]:
        done = call(*words)
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1


def tables():
    """The rows of the teacher's page: what each chapter needs, and the two plans, a list of weeks each."""
    page = (ROOT / "book" / "teaching.md").read_text(encoding="utf8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if re.match(r"\| \d", line)]
    needs = {numbers(row[0])[0]: (numbers(row[1]), int(row[2])) for row in rows if len(row) == 3}
    weeks = [(int(row[0]), numbers(row[1]), re.findall(r"`(ex-[\w-]+)`", row[3])) for row in rows if len(row) == 4]
    second = [week for week, *_ in weeks].index(1, 1)
    return needs, weeks[:second], weeks[second:]


def numbers(text):
    return [int(number) for number in re.findall(r"\d+", text.split("{")[0])]


def test_the_plans_teach_nothing_before_what_it_needs():
    from ddim_edu.exercises import registry

    needs, six, twelve = tables()
    assert len(six) == 6 and len(twelve) == 12 and [week for week, *_ in six + twelve] == [*range(1, 7), *range(1, 13)]
    assert [*needs] == [int(path.stem[:2]) for path in CHAPTERS]
    for number, (earlier, exercises) in needs.items():
        assert all(one < number for one in earlier)
        assert exercises == sum(one.chapter == number for one in registry().values())
    assert {number for _, chapters, _ in twelve for number in chapters} == {*needs}
    for plan in (six, twelve):
        taught = set()
        for _, chapters, exercises in plan:
            taught |= {*chapters}
            assert all({*needs[number][0]} <= taught for number in chapters)
            assert {registry()[label].chapter for label in exercises} <= {*chapters}


def test_what_chapters_say_they_need_is_what_the_page_says():
    needs, *_ = tables()
    found = 0
    for path in CHAPTERS:
        said = re.search(r"^# You need (.*)$", path.with_suffix(".py").read_text(encoding="utf8"), flags=re.MULTILINE)
        if said:
            found += 1
            words = re.sub(r"(\d+) to (\d+)", lambda m: " ".join(map(str, range(int(m[1]), int(m[2]) + 1))), said[1])
            assert {*numbers(words)} <= {*needs[int(path.stem[:2])][0]}, path.stem
    assert found >= 5

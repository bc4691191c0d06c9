"""A course from the chapters' exercises: problem sets for students, an instructor's edition, marks as CSV.

    python book/_tools/course.py make [COURSE] [--chapters 1 2 ...]     # default: _build/course, all chapters
    python book/_tools/course.py mark SUBMISSIONS [COURSE]              # SUBMISSIONS/STUDENT/NN_name.ipynb

``make`` writes a folder of a course as nbgrader has it: ``source/`` is the instructor's edition, with solutions, and
``release/`` what students get, with a place for each answer and the check behind it. ``mark`` runs what students sent
in and writes ``marks.csv``, a line for each student and problem set, and ``exercises.csv``, one for each exercise. An
exercise is worth as many points as it has stars; what counts is the check, whose cell is put back before marking.

Both need the extra ``course``. **Marking runs the students' code** as whoever calls it: do it in a container, or as a
user who may do nothing else.
"""

from __future__ import annotations

import argparse
import ast
import csv
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_ext"))

from exercise_list import EXERCISE, META, SOLUTION, TITLE  # noqa: E402

STARS = {"one star": 1, "two stars": 2, "three stars": 3}
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HOW = """\
Write each answer where it says so, under the names that the cell begins with. The cell behind it checks the answer and
says in which direction to look; it is put back before marking, so there is no use in editing it. An exercise is worth
its stars. Each stands alone: import what you need, as the chapter does. Hand in this file, under its name."""
# Roles that plain Markdown lacks, and what stands for them; the chapter has the links.
ROLES = (
    (r"\{eq\}`eq:([\w-]+)`", r"equation *\1* of the book"),
    (r"\{py:\w+\}`~?(?:[\w.]*\.)?(\w+)`", r"`\1`"),
    (r"\{(?:prf:ref|ref|doc|numref|term)\}`([^`<]+?) *<[^`]+>`", r"\1"),
    (r"\{(?:prf:ref|ref|doc|numref|term)\}`([^`]+)`", r"*\1* of the book"),
    (r"\{cite(?::\w+)?\}`([^`]+)`", r"[\1]"),
)


def plain(text: str) -> str:
    """A statement or a solution in Markdown that any notebook shows."""
    for role, instead in ROLES:
        text = re.sub(role, instead, text)
    return text.strip()


def split(code: str, label: str, wanted: str) -> str:
    """A solution's code without its check, and with the answer under the names that the statement has.

    Args:
        code: The solution's code, which asserts ``check(label, answer)`` once.
        label: The exercise.
        wanted: What the statement hands to the check: a name, or a tuple of names.
    """
    lines = code.splitlines()
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assert) and ast.unparse(node.test).startswith(f"check('{label}', "):
            answer = ast.unparse(node.test.args[1])  # type: ignore[attr-defined]
            same = answer == ast.unparse(ast.parse(wanted, mode="eval"))
            lines[node.lineno - 1 : node.end_lineno] = [] if same else [f"{wanted.strip('()')} = {answer}"]
            return "\n".join(line for line in lines if line != "from ddim_edu.exercises import check")
    raise ValueError(f"the solution of {label} has no assert check(...) of its own")


def of_nbgrader(cell: Any, name: str, *, grade: bool = False, solution: bool = False, points: int = 0) -> Any:
    """The cell with nbgrader's marks; what is neither an answer nor free is locked."""
    about = {"grade_id": name, "schema_version": 3, "grade": grade, "solution": solution, "task": False}
    about |= {"locked": not solution} | ({"points": points, "cell_type": cell.cell_type} if grade else {})
    cell.id, cell.metadata["nbgrader"] = name, about
    return cell


def cells_of(label: str, title: str, body: str, solution: str) -> list[Any]:
    """An exercise: its statement, a place for the derivation, one for the code, and the check."""
    meta, found = META.search(body), re.search(rf'check\("{label}", (.+?)\)`', body)
    code = re.search(r"^```python\n(.*?)^```", solution, flags=re.DOTALL | re.MULTILINE)
    if not (meta and found and code):
        raise ValueError(f"{label} is not written as the others are")
    wanted = found[1]
    names = wanted.strip("()").replace(", ", " = ")
    way = plain(re.sub(r"^:class: dropdown\n", "", solution).replace(code[0], ""))
    answer = f"{names} = None  # to hand in\n\n{BEGIN}\n{split(code[1], label, wanted).strip()}\n{END}"
    check = f'from ddim_edu.exercises import check\n\nassert check("{label}", {wanted})'
    return [
        of_nbgrader(new_markdown_cell(f"## {title}\n\n{plain(body)}"), f"{label}-statement"),
        of_nbgrader(new_markdown_cell(f"{BEGIN}\n{way}\n{END}"), f"{label}-way", grade=True, solution=True),
        of_nbgrader(new_code_cell(answer), f"{label}-answer", solution=True),
        of_nbgrader(new_code_cell(check), f"{label}-check", grade=True, points=STARS[meta["stars"]]),
    ]


def problem_set(chapter: Path) -> Any:
    """The instructor's notebook of a chapter's exercises; None if it has none."""
    book = nbformat.read(chapter, as_version=4)
    text = "\n\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    solutions = {found["label"]: found["body"] for found in SOLUTION.finditer(text)}
    title = TITLE.search(text)
    if title is None or not solutions:
        return None
    number = int(chapter.stem[:2])
    head = f"# Problem set {number}: {title[1]}\n\nTo chapter {number} of *Denoising diffusion implicit models*. {HOW}"
    cells = [of_nbgrader(new_markdown_cell(head), "head")]
    for found in EXERCISE.finditer(text):
        body = re.sub(r"^:label:.*\n", "", found["body"])
        cells += cells_of(found["label"], found["title"], body, solutions[found["label"]])
    return new_notebook(cells=cells, metadata={"kernelspec": dict(book.metadata["kernelspec"])})


def api(course: Path) -> Any:
    """nbgrader for the folder of a course."""
    try:
        from nbgrader.apps import NbGraderAPI
    except ImportError:
        raise ValueError('nbgrader is missing: pip install -c constraints.txt -e ".[course]"') from None
    from traitlets.config import Config

    # it calls alembic, which lies beside this Python
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    config = Config()
    config.CourseDirectory.root = str(course)
    config.ClearSolutions.code_stub = {"python": "# your code here"}
    config.ClearSolutions.text_stub = "*Your derivation, or what you saw, in words.*"
    config.Execute.timeout = 600  # seconds for a cell
    config.Exchange.root = str(course)  # not used, but it has to be there
    config.Application.log_level = 30
    return NbGraderAPI(config=config)


def make(course: Path, numbers: list[int]) -> list[str]:
    """Write both editions.

    Returns:
        The problem sets' names.
    """
    if (course / "submitted").exists():
        raise ValueError(f"{course} holds submissions: name another folder for a new course")
    for part in ("source", "release", "gradebook.db"):
        path = course / part
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    made = []
    for chapter in sorted((ROOT / "chapters").glob("[0-9][0-9]_*.ipynb")):
        if numbers and int(chapter.stem[:2]) not in numbers:
            continue
        notebook = problem_set(chapter)
        if notebook is not None:
            folder = course / "source" / chapter.stem
            folder.mkdir(parents=True)
            nbformat.write(notebook, folder / chapter.name)
            made.append(chapter.stem)
    if not made:
        raise ValueError(f"there is no chapter {', '.join(map(str, numbers))} with exercises")
    grader = api(course)
    for name in made:
        done(grader.generate_assignment(name, force=True, create=True), name)
    return made


def done(result: dict[str, Any], what: str) -> None:
    """A check that nbgrader did what it was asked for.

    Raises:
        ValueError: With the end of what it said, if it did not.
    """
    if not result["success"]:
        raise ValueError(f"nbgrader failed at {what}: {(result.get('log') or '') + (result.get('error') or '')}")


def mark(submissions: Path, course: Path) -> tuple[Path, Path]:
    """Run what students sent in, and write both tables."""
    released = {path.stem for path in (course / "source").glob("*/*.ipynb")}
    sent = sorted(path for path in submissions.glob("*/*.ipynb") if path.is_file() and path.stem in released)
    if not sent:
        raise ValueError(
            f"{submissions} holds no STUDENT/NAME.ipynb with a name of {course / 'release'} "
            f"({', '.join(sorted(released)) or 'there is none: run course.py make'})"
        )
    grader = api(course)
    for path in sent:
        student, name = path.parent.name, path.stem
        folder = course / "submitted" / student / name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.name)
        done(grader.autograde(name, student, force=True, create=True), f"{student}, {name}")
    return tables(grader, course)


def tables(grader: Any, course: Path) -> tuple[Path, Path]:
    """The marks that nbgrader holds, as two files of comma-separated values."""
    whole, parts = course / "marks.csv", course / "exercises.csv"
    with (
        grader.gradebook as book,
        open(whole, "w", encoding="utf8", newline="") as one,
        open(parts, "w", encoding="utf8", newline="") as other,
    ):
        sums, single = csv.writer(one), csv.writer(other)
        sums.writerow(["student", "problem set", "points", "of"])
        single.writerow(["student", "problem set", "exercise", "points", "of"])
        for assignment in sorted(book.assignments, key=lambda found: found.name):
            for sub in sorted(assignment.submissions, key=lambda found: found.student_id):
                sums.writerow([sub.student_id, assignment.name, sub.score, sub.max_score])
                for notebook in sub.notebooks:
                    for grade in sorted(notebook.grades, key=lambda found: found.name):
                        if grade.name.endswith("-check"):
                            row = [grade.name.removesuffix("-check"), grade.score, grade.max_score]
                            single.writerow([sub.student_id, assignment.name, *row])
    return whole, parts


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    making = commands.add_parser("make", help="write the problem sets")
    making.add_argument("--chapters", type=int, nargs="+", default=[], help="their numbers; all by default")
    marking = commands.add_parser("mark", help="mark a folder of submissions, STUDENT/NN_name.ipynb")
    marking.add_argument("submissions", type=Path)
    for command in (making, marking):
        command.add_argument("course", type=Path, nargs="?", default=ROOT / "_build" / "course")
    options = parser.parse_args()
    try:
        if options.command == "make":
            made = make(options.course.resolve(), options.chapters)
            print(f"{len(made)} problem sets")
            print(
                f"for students    {options.course / 'release'}",
                f"with solutions  {options.course / 'source'}",
                sep="\n",
            )
        else:
            print(*mark(options.submissions.resolve(), options.course.resolve()), sep="\n")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

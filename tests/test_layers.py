"""Who may import whom: the layers of CONTRIBUTING, no cycles, and the few packages that only one room may use."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ddim_edu"
MATHEMATICS = "schedule randomness forward posterior sampler solvers variance steps losses adaptive".split()
MATHEMATICS += "exact line guidance flow inversion distillation".split()
# From the ground up. A module imports from its own layer, where there are no cycles, and from those below.
LAYERS = [
    ["ranges", "files", "streams", "processes", "plugins", "strangers"],
    MATHEMATICS,
    ["nets"],
    ["guides", "sampling", "precision"],
    ["models"],
    ["data"],
    ["training"],
    ["measuring"],
    ["plotting"],
    ["apps"],
    ["exercises", "conformance", "conventions"],
    ["commands"],
]
ALONE = {"nets": ["nets"], **{module: MATHEMATICS for module in MATHEMATICS}}  # these import nothing else of ours
# And every __main__: `python -m ddim_edu.train` calls the command.
DOORS = ["train", "sample", "evaluate", "export", "translate"]
ONLY_HERE = {
    "matplotlib": ["plotting"],
    "diffusers": [],
    "tyro": ["commands"],
}


def room(module):
    return module.split(".")[0]


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def imports(source):
    """(line, module) of every import, those inside functions too; ``from a import b`` is a.b where that is a module."""
    known = {f"ddim_edu.{name}" for name, _ in modules()}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import; name the module in full"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in known else node.module


def allowed(own):
    """The rooms that a room may import from, itself included."""
    return ALONE[own] if own in ALONE else [name for layer in LAYERS[: height(own) + 1] for name in layer]


def height(name):
    found = [i for i, layer in enumerate(LAYERS) if name in layer]
    assert found, f"{name} is in no layer: give it a place in LAYERS, and in CONTRIBUTING"
    return found[0]


def violations(name, source):
    """What a module imports that it may not, a line each."""
    if name == "__init__" or name.endswith("__main__") or name in DOORS:
        return []
    found = []
    for line, target in imports(source):
        top, _, inner = target.partition(".")
        if top in ONLY_HERE and room(name) not in ONLY_HERE[top]:
            found.append(f"ddim_edu/{name.replace('.', '/')}.py:{line} imports {top}")
        elif top == "ddim_edu" and inner and inner[0] != "_" and room(inner) not in allowed(room(name)):
            found.append(f"ddim_edu/{name.replace('.', '/')}.py:{line} imports ddim_edu.{inner}")
    return list(dict.fromkeys(found))


def cycles(edges):
    """A cycle among modules, as the list of those on it; empty if there is none."""
    done, path = set(), []

    def walk(name):
        if name in path:
            return path[path.index(name) :] + [name]
        if name in done:
            return []
        path.append(name)
        for other in edges.get(name, ()):
            if found := walk(other):
                return found
        done.add(path.pop())
        return []

    return next((found for name in edges if (found := walk(name))), [])


@pytest.mark.parametrize("name, path", list(modules()), ids=lambda v: v if isinstance(v, str) else "")
def test_imports_go_down(name, path):
    assert violations(name, path.read_text(encoding="utf8")) == []


def test_there_are_no_cycles():
    known = {name: path.read_text(encoding="utf8") for name, path in modules()}
    edges = {
        name: {t.removeprefix("ddim_edu.") for _, t in imports(source) if t.startswith("ddim_edu.")} & set(known)
        for name, source in known.items()
    }
    assert cycles(edges) == []


@pytest.mark.parametrize(
    "name, source",
    [
        ("forward", "from ddim_edu.files import replacing"),
        ("sampler", "def f():\n    from ddim_edu import plotting"),
        ("nets.unet", "import ddim_edu.schedule"),
        ("data.source", "from ddim_edu.training.trainer import Trainer"),
        ("models.checkpoint", "from ddim_edu.commands.options import fail"),
        ("schedule", "import matplotlib.pyplot as plt"),
        ("sampler", "import diffusers"),
    ],
)
def test_the_check_sees_an_import_upwards(name, source):
    (found,) = violations(name, source)
    assert found.startswith(f"ddim_edu/{name.replace('.', '/')}.py:{source.count(chr(10)) + 1} imports")


def test_the_check_sees_a_cycle():
    assert cycles({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]

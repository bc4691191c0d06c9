"""A module imports only from floors below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ddim_edu"
FLOORS = {
    "schedule": 0, "nets": 0, "files": 0, "forward": 1, "lab.folder": 1, "lab.weightfile": 1, "posterior": 2, "lab.faces": 2,
    "lab.convert": 1, "lab.foreign": 2,
    "sampler": 3, "solvers": 3, "losses": 3, "adaptive": 3, "exact": 3,
    "apps": 4, "line": 4, "plotting": 4, "lab.processes": 4, "lab.precision": 4, "lab.data": 4, "lab.recipes": 4, "lab.checkpoint": 4,
    "conformance": 4, "conformance.__main__": 6, "conformance.pytest_plugin": 6, "translate": 4,
    "apps.audio": 1, "lab.classifiers": 3, "lab.autoencoders": 3, "lab.sounds": 3, "lab.metrics": 4, "lab.features": 4, "lab.compare": 4,
    "lab.trainer": 5, "lab.evaluation": 5, "lab.card": 5, "lab.onnx_export": 5, "commandline": 5, "exercises": 5,
    "apps.command": 6, "apps.sound": 6, "apps.__main__": 6,
    "__main__": 6, "train": 6, "sample": 6, "export": 6, "evaluate": 6, "lab.train_classifier": 6, "lab.train_autoencoder": 6,
}  # fmt: skip
ONLY_HERE = {
    "matplotlib": {"plotting"},
    "diffusers": set(),
    "tyro": {"commandline", "train", "sample", "export", "evaluate", "apps.command", "apps.sound"},
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            yield name, path


def floor(name):
    parts = name.split(".")
    for n in (2, 1):
        if ".".join(parts[:n]) in FLOORS:
            return FLOORS[".".join(parts[:n])]
    return None


def imports(source, own):
    """Every module named in an import statement, also inside functions; relative imports are refused."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{own}: relative import; name the module in full"
            yield node.module
            if node.module == "ddim_edu" or node.module.startswith("ddim_edu."):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(name, source):
    found = []
    for target in imports(source, name):
        top = target.split(".")[0]
        if top in ONLY_HERE and name not in ONLY_HERE[top]:
            found.append(f"{name} imports {top}")
        inner = target.removeprefix("ddim_edu.")
        neighbours = (
            name.split(".")[0] == inner.split(".")[0] in ("nets", "apps", "exercises", "conformance")
        )  # files of one room
        if top != "ddim_edu" or floor(inner) is None or neighbours:
            continue
        if floor(inner) >= floor(name):
            found.append(f"{name} (floor {floor(name)}) imports {inner} (floor {floor(inner)})")
    return found


@pytest.mark.parametrize("name, path", list(modules()), ids=lambda v: v if isinstance(v, str) else "")
def test_imports_go_down(name, path):
    if name == "lab":
        assert not list(imports(path.read_text(encoding="utf8"), name)), "lab/__init__.py imports nothing"
        return
    assert floor(name) is not None, f"{name} has no floor: give it one in DESIGN's table and here"
    assert violations(name, path.read_text(encoding="utf8")) == []


@pytest.mark.parametrize(
    "name, source",
    [
        ("forward", "from ddim_edu.posterior import q_sigma"),
        ("sampler", "import ddim_edu.losses"),
        ("exact", "def f():\n    from ddim_edu import plotting"),
        ("lab.data", "from ddim_edu.lab.trainer import train"),
        ("schedule", "import matplotlib.pyplot as plt"),
        ("sampler", "import diffusers"),
    ],
)
def test_the_check_sees_an_import_upwards(name, source):
    assert violations(name, source)

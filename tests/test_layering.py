"""Imports point down the list of rooms, and nowhere in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "tinysmooth"

# From the top of the house to the bottom: a room may import rooms that come after it.
ROOMS = [
    "__main__",
    "cli",
    "bench",
    "compare",
    "chapters",
    "report",
    "plots",
    "training",
    "data",
    "rehearsal",
    "models",
    "metrics",
    "gradcheck",
    "optim",
    "nn",
    "losses",
    "ops",
    "kernels",
    "primitive",
    "captured",
    "arguments",
    "tensor",
    "graph",
    "checks",
]


def imports_of(path: Path) -> set[str]:
    """Rooms of tinysmooth that a file imports, wherever in the file the import stands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):  # names that only the type checker sees are no import
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    rooms = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "tinysmooth" and len(parts) > 1:
                rooms.add(parts[1])
    return rooms


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_is_on_the_list():
    files = [p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py"]
    assert {room_of(path) for path in files} <= set(ROOMS)


def test_imports_only_point_down():
    upward = []
    for path in PACKAGE.rglob("*.py"):
        if path == PACKAGE / "__init__.py":
            continue
        here = room_of(path)
        for room in imports_of(path) - {here, "__version__"}:
            if room in ROOMS and ROOMS.index(room) < ROOMS.index(here):
                upward.append(f"{path.relative_to(PACKAGE)} imports {room}")
    assert not upward


def test_the_walk_and_the_tensor_know_only_numpy():
    for name in ("tensor.py", "graph.py", "primitive.py"):
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                top = module.split(".")[0]
                assert top in {"numpy", "tinysmooth"} or top in sys.stdlib_module_names, module


def test_importing_neither_compiles_nor_loads_what_only_some_need():
    code = (
        "import sys, tinysmooth; "
        "print([m for m in ('matplotlib', 'PIL', 'pooch', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""

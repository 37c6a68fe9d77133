"""Every public name says what it takes, what it gives back and what it refuses."""

import ast
import dataclasses
import inspect
import re
import sys
from pathlib import Path

import pytest

import tinysmooth as ts
from tinysmooth import compare

ROOMS = (
    ts,
    ts.losses,
    ts.nn,
    ts.optim,
    ts.models,
    ts.data,
    ts.metrics,
    ts.training,
    ts.plots,
    compare,
)


def public_names():
    """Each public object once, under the name of the room that is nearest to the reader."""
    seen = {}
    for room in ROOMS:
        for name in room.__all__:
            thing = getattr(room, name)
            if not inspect.ismodule(thing):
                seen.setdefault(id(thing), (f"{room.__name__}.{name}", thing))
    return list(seen.values())


NAMES = public_names()
CALLABLE = [
    pytest.param(name, thing, id=name)
    for name, thing in NAMES
    if callable(thing) and not (inspect.isclass(thing) and issubclass(thing, BaseException))
]


def sections(thing):
    """Split a docstring of NumPy's convention into its parts by their titles."""
    lines = inspect.cleandoc(thing.__doc__ or "").splitlines()
    found, title = {"": []}, ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line and following == "-" * len(line):
            title = line
            found[title] = []
        elif not re.fullmatch("-{3,}", line):
            found[title].append(line)
    return found


def entries(lines):
    """Read ``name, other : kind`` and the indented words below it, by name."""
    found, names = {}, []
    for line in lines:
        if line and not line.startswith(" "):
            head, _, kind = line.partition(" : ")
            names = [name.strip().lstrip("*") for name in head.split(",")]
            found.update(dict.fromkeys(names, kind))
        else:
            for name in names:
                found[name] += f" {line.strip()}"
    return found


def documented(thing):
    parts = sections(thing)
    return entries(parts.get("Parameters", [])) | entries(parts.get("Attributes", []))


def body(thing):
    """Source of a function, or of what makes an object of a class."""
    if inspect.isclass(thing):
        own = [getattr(thing, name, None) for name in ("__init__", "__post_init__")]
        return "".join(
            inspect.getsource(f)
            for f in own
            if inspect.isfunction(f)
            and f.__module__ == thing.__module__
            and not (dataclasses.is_dataclass(thing) and f.__name__ == "__init__")
        )
    return inspect.getsource(inspect.unwrap(thing))


def signature(thing):
    return inspect.signature(thing).parameters


@pytest.mark.parametrize(("name", "thing"), NAMES, ids=[name for name, _ in NAMES])
def test_every_public_name_is_described(name, thing):
    if callable(thing):
        assert sections(thing)[""], name
        return
    room, _, constant = name.rpartition(".")
    folder = Path(sys.modules[room].__file__).parent
    for path in [folder / "__init__.py", *folder.rglob("*.py")]:
        if described_constant(path.read_text(encoding="utf-8"), constant):
            return
    pytest.fail(f"{name} has neither '#:' above nor a string below it that says what it is")


def described_constant(source, constant):
    """Tell whether a file assigns the constant and says what it is, as Sphinx reads it."""
    lines, statements = source.splitlines(), ast.parse(source).body
    for first, second in zip(statements, [*statements[1:], None], strict=True):
        targets = getattr(first, "targets", [getattr(first, "target", None)])
        if any(getattr(target, "id", None) == constant for target in targets):
            above = lines[first.lineno - 2].startswith("#:")
            below = isinstance(second, ast.Expr) and isinstance(second.value, ast.Constant)
            if above or below:
                return True
    return False


@pytest.mark.parametrize(("name", "thing"), CALLABLE)
def test_every_parameter_is_described_and_every_array_has_a_shape(name, thing):
    told = documented(thing)
    wanted = [p for p in signature(thing) if p not in ("self", "args", "kwargs")]
    assert [p for p in wanted if p not in told] == []
    shapeless = [
        p
        for p in wanted
        if re.match("(nd)?array", told[p]) and not re.search(r"\(|[Ss]hape|[Ss]calar", told[p])
    ]
    assert shapeless == []


@pytest.mark.parametrize(("name", "thing"), CALLABLE)
def test_what_can_be_refused_is_told(name, thing):
    if re.search(r"\braise \w|\b_?check(ed)?_?\w*\(", body(thing)):
        assert "Raises" in sections(thing)


@pytest.mark.parametrize(("name", "thing"), CALLABLE)
def test_what_a_function_gives_back_is_told(name, thing):
    # A plot gives a Figure back, which its room says once.
    if inspect.isclass(thing) or name.startswith("tinysmooth.plots.") or not signature(thing):
        return
    if inspect.signature(thing).return_annotation not in (None, "None"):
        assert {"Returns", "Yields"} & set(sections(thing))


def test_plots_give_figures_back():
    from matplotlib.figure import Figure

    for name in ts.plots.__all__:
        plot = getattr(ts.plots, name)
        if inspect.isfunction(plot) and name not in ("new_figure", "run_colour"):
            assert plot.__annotations__["return"] in ("Figure", Figure), name

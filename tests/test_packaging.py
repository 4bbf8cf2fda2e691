"""What the installed package needs and brings: its declared dependencies, its types, its pytest plugin."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import funcnet

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# What is imported and not declared, and why that is right.
UNDECLARED = {
    ("funcnet/plugin/pytest_funcnet.py", "pytest"): "only pytest imports its plugins",
    ("funcnet/demo/server.py", "starlette"): "funcnet.demo looks for it before it imports the server",
    ("funcnet/demo/server.py", "uvicorn"): "the same",
    ("funcnet/demo/notebook.py", "anywidget"): "the same",
    ("funcnet/demo/notebook.py", "traitlets"): "anywidget brings it",
    ("funcnet/docs/griffe_docstrings.py", "griffe"): "only mkdocstrings imports its extensions",
    ("funcnet/docs/notebooks.py", "traitlets"): "nbconvert brings it",
    ("tests/benchmarks/bench_training.py", "torch"): "in an extra of its own, which the benchmark asks for",
    **{
        (f"tests/benchmarks/strangers/{file}.py", package): "a row of the table says that it is not installed"
        for file, package in [
            ("rules", "jaxopt"),
            ("rules", "optimistix"),
            ("rules", "diffrax"),
            ("models", "haiku"),
            ("models", "numpyro"),
        ]
    },
}


def names(requirements):
    return {re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-") for requirement in requirements}


NEEDED = names(PROJECT["dependencies"])
EXTRAS = {extra: names(its) for extra, its in PROJECT["optional-dependencies"].items()}
OPTIONAL = set().union(*(its for extra, its in EXTRAS.items() if extra not in ("dev", "peers", "torch")))


def imports(node, late=False):
    """The modules that a file imports, and whether only when a function is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, late) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.module, late
        else:
            yield from imports(child, late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def undeclared(folder, early, late):
    """The (file, package) pairs whose package may be missing when it is imported."""
    distributions = importlib.metadata.packages_distributions()
    for file in (ROOT / folder).rglob("*.py"):
        for module, is_late in imports(ast.parse(file.read_text())):
            package = module.partition(".")[0]
            if package not in {*sys.stdlib_module_names, "funcnet", "tests"} and names(
                distributions.get(package, [package])
            ).isdisjoint(late if is_late else early):
                yield file.relative_to(ROOT).as_posix(), package


def test_what_is_imported_is_declared():
    """An optional package is imported where it is used, so that the rest works without it."""
    tested = NEEDED | EXTRAS["dev"]
    found = {*undeclared("funcnet", NEEDED, NEEDED | OPTIONAL), *undeclared("tests", tested, tested)}
    assert found == set(UNDECLARED)


def test_a_picture_needs_no_extra():
    """README's pictures come with its first command; what one feature needs is left to whoever wants it."""
    assert "pygraphviz" in NEEDED
    assert EXTRAS["features"] == {"scikit-image"}


def test_the_package_says_that_it_has_types():
    assert (ROOT / "funcnet/py.typed").exists()


def test_the_plugin_is_a_module_beside_the_package():
    (plugin,) = importlib.metadata.entry_points(group="pytest11", name="funcnet")
    assert (plugin.module, "." in plugin.module) == ("pytest_funcnet", False)


def test_the_version_is_said_alike():
    assert PROJECT["version"] == funcnet.__version__

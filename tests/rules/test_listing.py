"""`funcnet rules` in print: the overview and a rule whole."""

import pytest

from funcnet.__main__ import main
from funcnet._errors import ParameterError
from funcnet.rules import PIECEWISE_CONSTANT, REFUSED, RULES
from funcnet.rules._standing import STANDING
from funcnet.rules.listing import entry, overview, reads


def test_overview_has_a_line_for_every_primitive():
    _, *lines = overview().splitlines()
    without = sorted({*PIECEWISE_CONSTANT, *REFUSED})
    assert [line.split()[0] for line in lines] == [*sorted(RULES), *without, *sorted(STANDING)]


def test_overview_names_the_errors_of_tanh():
    (line,) = (line for line in overview().splitlines() if line.startswith("tanh "))
    assert line.split()[1:4] == ["x", "3.0", "all"]
    assert len(line.partition("x̄")[0].split()) == 6
    assert line.endswith("x̄ = ȳ · sech²(x)")


def test_entry_shows_formula_source_and_code():
    text = entry("tanh")
    assert "formula   x̄ = ȳ · sech²(x)" in text
    assert "source    NIST DLMF §4.34" in text
    assert "def tanh(y_bar, y, x):" in text


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_an_entry(name):
    lines = entry(name).splitlines()
    assert lines[0] == name
    assert lines[1:3] == [f"formula   {RULES[name].formula}", f"source    {RULES[name].source}"]
    assert any(line.startswith("def ") for line in lines)


def test_entry_of_a_rule_with_a_forward_of_its_own_shows_both():
    assert entry("sort").count("def ") == 2


@pytest.mark.parametrize("name", ["floor", "nextafter"])
def test_entry_of_a_primitive_without_a_rule_says_why(name):
    assert {**PIECEWISE_CONSTANT, **REFUSED}[name] in entry(name)


LIBRARY = """
from jax.extend.core import Primitive
from jax.interpreters import ad

doubled = Primitive("doubled")
doubled.def_impl(lambda x: 2 * x)
doubled.def_abstract_eval(lambda x: x)
ad.deflinear2(doubled, lambda y_bar, x: [2 * y_bar])
"""


def test_the_primitives_of_a_library_are_listed(tmp_path, monkeypatch):
    (tmp_path / "library_of_doubles.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)
    said = entry("library_of_doubles").splitlines()
    assert said[0].startswith("library_of_doubles brings primitives, differentiated by")
    assert said[1].split() == ["doubled", "library_of_doubles"]
    assert entry("json") == "json brings no primitives"


@pytest.mark.parametrize("name", ["pinv", "_pinv", "numpy.linalg._pinv"])
def test_entry_of_a_function_whose_own_rule_stands_says_why(name):
    assert entry(name) == f"numpy.linalg._pinv has JAX's own rule: {STANDING['numpy.linalg._pinv']}"


def test_unknown_primitive():
    said = r"tangh: no such primitive, nor a library; did you mean tanh\? `funcnet rules` lists"
    with pytest.raises(ParameterError, match=said):
        entry("tangh")
    with pytest.raises(ParameterError, match=r"xyz: no such primitive, nor a library\. `"):
        entry("xyz")


@pytest.mark.parametrize(
    ("name", "kept"),
    [("add", ()), ("exp", ("y",)), ("sort", ("order",)), ("reshape", ()), ("mul", ("x1", "x2"))],
)
def test_reads(name, kept):
    assert reads(RULES[name]) == kept


def test_command(capsys):
    assert main(["rules", "mul"]) == 0
    assert "x̄₁ = ȳ · x₂" in capsys.readouterr().out
    assert main(["rules", "nosuch"]) == 2
    assert "no such primitive" in capsys.readouterr().err

"""What a check says: the verdicts; table and HTML; whether the smallest error seen is true."""

import ast
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import funcnet.check
from funcnet import Report, VJPCheckError, check_vjp
from funcnet.check import criteria
from funcnet.check.finding import Finding
from funcnet.check.report import Row
from funcnet.kept import Residuals
from tests.check.rows import array, custom

X, W = array(0.5, -1.25, 2.0), jnp.asarray([[0.5, -1.0], [1.5, 0.25], [-0.4, 0.8]])


def scaled(params, x):
    return params["scale"] * jnp.sin(x)


def scaled_gradient(args, y_bar):
    params, x = args
    return {"scale": (y_bar * jnp.sin(x)).sum()}, y_bar * params["scale"] * jnp.cos(x)


RULE = custom(scaled, scaled_gradient)


@pytest.fixture(scope="module")
def report():
    return check_vjp(RULE, {"scale": jnp.float32(1.5)}, X)


def test_a_row_for_each_argument_and_dtype(report):
    assert [(row.argument, row.shape, row.dtype) for row in report.rows] == [
        ("params['scale']", (), "float64"),
        ("x", (3,), "float64"),
        ("params['scale']", (), "float32"),
        ("x", (3,), "float32"),
    ]
    assert report.function == "scaled"


def test_the_errors_of_a_right_rule_are_rounding(report):
    for row in report.rows:
        u = np.finfo(row.dtype).eps / 2
        assert 0 <= row.error < 8
        assert row.relative < 16 * u
        assert u < row.smallest < (1e-6 if row.dtype == "float64" else 1e-4)


def test_it_prints_as_a_table(report):
    title, head, *lines = str(report).splitlines()
    assert title.startswith("scaled: right (1 custom rule; ")
    assert title.endswith(f"{report.probes} probes in {report.calls} compiled calls)")
    assert head.split("  ")[1].strip() == "argument"
    assert [line.split()[:2] for line in lines[:4]] == [
        ["params['scale'][]", "float64"],
        ["x[3]", "float64"],
        ["params['scale'][]", "float32"],
        ["x[3]", "float32"],
    ]
    columns = {line.index("float") for line in lines[:4]}
    assert columns == {head.index("dtype")}
    assert "bytes kept for backward" in lines[4]


def test_without_a_rule_of_its_own_the_gradient_is_that_of_jax():
    assert str(check_vjp(jnp.sin, X, transforms=())).startswith("sin: right (JAX's own rules; ")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_smallest_error_seen_is_the_smallest_that_is_refused(dtype):
    """A rule off by twice the factor in the report is refused, one off by a hundredth of it is not."""

    def rule(delta):
        def backward(args, y_bar):
            (x,) = args
            return ((2 * x * y_bar * (1 + delta * (x.dtype == dtype))).astype(x.dtype),)

        return custom(lambda x: x * x, backward)

    options = {"transforms": (), "dtypes": (dtype,)}
    (row,) = (row for row in check_vjp(rule(0), X, **options).rows if row.dtype == dtype)
    check_vjp(rule(row.smallest / 100), X, **options)
    with pytest.raises(VJPCheckError, match=f"x: {dtype}"):
        check_vjp(rule(2 * row.smallest), X, **options)


STASH = Residuals(24, 8, (((4,), "float32", True), ((2,), "float32", False)))
ROWS = (
    Row("p['<b>']", (2, 3), "float64", 0.5, 1e-16, 1e-9),
    Row("p['<b>']", (2, 3), "float32", 1.25, 2e-7, 3e-6),
    Row("x", (), "float64", 0.0, 0.0, 2e-8),
)
MADE = Report("<lambda>", ROWS, STASH, 2, 30, 9, ("x: a note & more",))


def test_the_html_is_escaped():
    html = MADE._repr_html_()
    assert "&lt;lambda&gt;: right" in html
    assert "p[&#x27;&lt;b&gt;&#x27;][2,3]" in html
    assert "a note &amp; more" in html
    assert html.count("<tr>") == html.count("</tr>") == 1 + len(ROWS)
    assert "<lambda>" not in html
    assert "<b>']" not in html


def test_the_text_of_a_report_made_by_hand():
    assert str(MADE).splitlines() == [
        "<lambda>: right (2 custom rules; 30 probes in 9 compiled calls)",
        "  argument       dtype    error in roundings  relative error  smallest error seen",
        "  p['<b>'][2,3]  float64  0.5                 1.0e-16         1.0e-09",
        "  p['<b>'][2,3]  float32  1.2                 2.0e-07         3.0e-06",
        "  x[]            float64  0                   0.0e+00         2.0e-08",
        "  24 bytes kept for backward, of which it never reads 8: float32[2]",
        "  x: a note & more",
    ]


def test_what_the_whole_check_would_have_missed_is_the_worst_argument_in_its_best_dtype():
    assert MADE.smallest == 2e-8


def test_a_finding_is_its_verdict_what_it_is_about_and_labelled_lines():
    finding = Finding(
        "WRONG", "f", "x: float32[2]", "it is wrong", (("worst", "x[0]"), ("reproduce", "f(x)"))
    )
    assert str(finding).splitlines() == [
        "WRONG: f, x: float32[2]: it is wrong",
        "  worst      x[0]",
        "  reproduce  f(x)",
    ]
    assert str(Finding("CONTRACT", "f", "", "it does not run")) == "CONTRACT: f: it does not run"


def nodes(folder, pattern):
    """The nodes of the syntax trees of some files."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(pattern))]
    return [node for tree in trees for node in ast.walk(tree)]


def strings(nodes):
    return {str(node.value) for node in nodes if isinstance(node, ast.Constant)}


def makes_a_row(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "Refused"


def test_each_verdict_is_given_in_a_row_and_is_in_the_guide_and_the_docstrings():
    """A verdict is a string in capitals in the code of the checker."""
    code = nodes(Path(funcnet.check.__file__).parent, "*.py")
    verdicts = {text for text in strings(code) if re.fullmatch("[A-Z]{4,}", text)}
    rows = [
        node
        for node in nodes(Path(__file__).parent, "test_*.py")
        if makes_a_row(node)
        or (isinstance(node, ast.FunctionDef) and any(map(makes_a_row, ast.walk(node))))  # verdict="KINK"
    ]
    assert verdicts - strings(each for row in rows for each in ast.walk(row)) == set()
    guide = (Path(funcnet.check.__file__).parents[1] / "docs/checking.md").read_text(encoding="utf-8")
    documented = (Finding, check_vjp, VJPCheckError.verdict, criteria)
    for text in (guide, *(each.__doc__ for each in documented)):
        assert verdicts - set(re.findall(r"\b[A-Z]+\b", text)) == set()

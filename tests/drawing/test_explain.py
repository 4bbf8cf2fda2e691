"""The walk through a graph in words: its rows as data, its lines as text, its tables in a notebook."""

import functools
import re
import unicodedata

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from funcnet import nn
from funcnet._errors import ShapeError
from funcnet.drawing.diagram.fold import FOLD_ABOVE
from funcnet.drawing.explanation import explain
from funcnet.lecture import EXAMPLES


@functools.cache
def explained(name):
    example = EXAMPLES[name]
    return explain(example.function, y_bar=example.upstream)(*example.arguments)


LINES = [
    (
        "sum_times",
        ["x = −2", "y = 5", "z = −4", "q = x + y = −2 + 5 = 3", "f = q × z = 3 × −4 = −12"],
        [
            "∂f/∂f = 1",
            "∂f/∂q = −4 × 1 = −4",
            "∂f/∂z = 3 × 1 = 3",
            "∂f/∂x = 1 × −4 = −4",
            "∂f/∂y = 1 × −4 = −4",
        ],
    ),
    (
        "sigmoid_gates",
        [
            *("w0 = 2", "x0 = −1", "w1 = −3", "x1 = −2", "w2 = −3"),
            *("q1 = w0 × x0 = 2 × −1 = −2", "q2 = w1 × x1 = −3 × −2 = 6", "q3 = q1 + q2 = −2 + 6 = 4"),
            *("q4 = q3 + w2 = 4 + −3 = 1", "q5 = −q4 = −1 = −1", "q6 = exp(q5) = exp(−1) = 0.368"),
            *("q7 = 1 + q6 = 1 + 0.368 = 1.37", "f = 1 ÷ q7 = 1 ÷ 1.37 = 0.731"),
        ],
        [
            *("∂f/∂f = 1", "∂f/∂q7 = −0.534 × 1 = −0.534", "∂f/∂q6 = 1 × −0.534 = −0.534"),
            *("∂f/∂q5 = 0.368 × −0.534 = −0.197", "∂f/∂q4 = −1 × −0.197 = 0.197"),
            *("∂f/∂q3 = 1 × 0.197 = 0.197", "∂f/∂w2 = 1 × 0.197 = 0.197"),
            *("∂f/∂q1 = 1 × 0.197 = 0.197", "∂f/∂q2 = 1 × 0.197 = 0.197"),
            *("∂f/∂w1 = −2 × 0.197 = −0.393", "∂f/∂x1 = −3 × 0.197 = −0.59"),
            *("∂f/∂w0 = −1 × 0.197 = −0.197", "∂f/∂x0 = 2 × 0.197 = 0.393"),
        ],
    ),
    ("copy", ["x = 7", "f1 = x = 7", "f2 = x = 7"], ["∂L/∂f1 = 4", "∂L/∂f2 = 2", "∂L/∂x = 4 + 2 = 6"]),
    (
        "max",
        ["x = 4", "y = 5", "f = max(x, y) = max(4, 5) = 5"],
        ["∂L/∂f = 9", "∂L/∂x = 0 × 9 = 0", "∂L/∂y = 1 × 9 = 9"],
    ),
    (
        "relu",
        ["x = [1, −2, 3, −1]", "f = relu(x) = relu([1, −2, 3, −1]) = [1, 0, 3, 0]"],
        ["∂L/∂f = [4, −1, 5, 9]", "∂L/∂x = [1, 0, 1, 0] × [4, −1, 5, 9] = [4, 0, 5, 0]"],
    ),
    (
        "matmul",
        [
            "x = [[2, 1, −3], [−3, 4, 2]]",
            "w = [[3, 2, 1, −1], [2, 1, 3, 2], [3, 2, 1, −2]]",
            "f = x @ w = [[2, 1, −3], [−3, 4, 2]] @ [[3, 2, 1, −1], [2, 1, 3, 2], [3, 2, 1, −2]]"
            " = [[−1, −1, 2, 6], [5, 2, 11, 7]]",
        ],
        [
            "∂L/∂f = [[2, 3, −3, 9], [−8, 1, 4, 6]]",
            "∂L/∂x = [[2, 3, −3, 9], [−8, 1, 4, 6]] · [[3, 2, 1, −1], [2, 1, 3, 2], [3, 2, 1, −2]]ᵀ"
            " = [[0, 16, −9], [−24, 9, −30]]",
            "∂L/∂w = [[2, 1, −3], [−3, 4, 2]]ᵀ · [[2, 3, −3, 9], [−8, 1, 4, 6]]"
            " = [[28, 3, −18, 0], [−30, 7, 13, 33], [−22, −7, 17, −15]]",
        ],
    ),
    (
        "squared_norm",
        [
            *("W = [[0.1, 0.5], [−0.3, 0.8]]", "x = [0.2, 0.4]"),
            "q = W @ x = [[0.1, 0.5], [−0.3, 0.8]] @ [0.2, 0.4] = [0.22, 0.26]",
            "f = l2(q) = l2([0.22, 0.26]) = 0.116",
        ],
        [
            *("∂f/∂f = 1", "∂f/∂q = [0.44, 0.52] × 1 = [0.44, 0.52]"),
            "∂f/∂W = [0.44, 0.52] · [0.2, 0.4]ᵀ = [[0.088, 0.176], [0.104, 0.208]]",
            "∂f/∂x = [[0.1, 0.5], [−0.3, 0.8]]ᵀ · [0.44, 0.52] = [−0.112, 0.636]",
        ],
    ),
]


@pytest.mark.parametrize(("name", "forward", "backward"), LINES, ids=[row[0] for row in LINES])
def test_the_lectures_examples_read_as_on_the_slides(name, forward, backward):
    e = explained(name)
    assert [str(row) for row in e.forward] == forward
    assert [str(row) for row in e.backward] == backward


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"svm", "two_layer"}))
def test_local_times_upstream_is_downstream_and_copies_add(name):
    for row in explained(name).backward:
        if row.gate == "copy":
            np.testing.assert_allclose(sum(row.upstream), row.downstream, rtol=1e-5, atol=1e-7)
        elif row.local is not None:
            np.testing.assert_allclose(row.local * row.upstream[0], row.downstream, rtol=1e-5, atol=1e-7)


def test_the_rows_carry_the_values_and_gradients_as_arrays(key):
    x = jax.random.normal(key, (4, 3))
    e = explain(lambda x: jnp.tanh(x).sum())(x)
    np.testing.assert_allclose([row.value.sum() for row in e.forward], [x.sum(), *2 * [jnp.tanh(x).sum()]])
    np.testing.assert_allclose(e.backward[-1].downstream, jax.grad(lambda x: jnp.tanh(x).sum())(x), rtol=1e-6)
    np.testing.assert_allclose(e.backward[-1].local, 1 - jnp.tanh(x) ** 2, rtol=1e-5)


def test_a_large_arrays_rows_have_the_formula_in_letters_and_a_summary(key):
    x, w = jax.random.normal(key, (20, 30)), jnp.ones((30, 10))
    e = explain(lambda x, w: nn.relu(x @ w).sum())(x, w)
    _, _, product, relu, _ = e.forward
    assert (product.formula, product.numbers, relu.formula) == ("x @ w", "", "relu(q1)")
    assert re.match(r"q1 = x @ w = float32 20×10, .*‖·‖ ", str(product))
    working = {row.name: row.working for row in e.backward}
    assert working["∂f/∂q2"] == "ȳ, broadcast (ȳ = 1)"
    assert working["∂f/∂q1"] == "ȳ · [x > 0] (ȳ = ∂f/∂q2)"
    assert working["∂f/∂w"] == "xᵀ · ȳ (ȳ = ∂f/∂q1)"


def workings(f, *args):
    return {row.name: row.working for row in explain(f)(*args).backward}


def test_a_formula_that_is_not_one_for_each_input_stands_whole():
    whole = "x̄ₖ = ȳ · [which = k] (ȳ = ∂L/∂f)"
    x = jnp.ones(20)
    assert workings(jax.lax.select, x > 0, x, x) == {"∂L/∂f": "", "∂L/∂on_true": whole, "∂L/∂on_false": whole}


def test_only_a_product_of_two_matrices_is_written_as_one():
    x = jnp.ones((2, 2))
    e = explain(lambda x, w: jnp.einsum("ij,ik->jk", x, w))(x, x)
    assert e.forward[-1].formula.startswith("dot_general(")
    assert e.backward[-1].working.endswith("(ȳ = ∂L/∂f)")


def test_an_affine_gates_rows_are_products_and_a_sum():
    x, w, b = jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]]), jnp.array([5.0])
    assert workings(nn.affine, x, w, b) == {
        "∂L/∂f": "",
        "∂L/∂x": "[[1]] · [[3], [4]]ᵀ",
        "∂L/∂w": "[[1, 2]]ᵀ · [[1]]",
        "∂L/∂b": "Σ [[1]]",
    }


def test_a_value_with_many_uses_has_a_row_for_each_and_their_sum():
    rows = {row.name: row for row in explain(lambda x: x * x + jnp.sin(x))(2.0).backward}
    assert rows["∂f/∂x, use 1 of 3"].working == rows["∂f/∂x, use 2 of 3"].working == "2 × 1"
    assert rows["∂f/∂x, use 3 of 3"].working == "−0.416 × 1"
    assert str(rows["∂f/∂x"]) == "∂f/∂x = 2 + 2 + −0.416 = 3.58"
    many = workings(lambda x: jnp.outer(x, x), jnp.arange(30.0))
    assert many["∂L/∂x"] == "the sum over 2 uses"


NAMES = [
    ("one value", lambda x: jnp.sin(jnp.cos(x)), ["x", "q", "f"]),
    ("many values", lambda x: jnp.sin(jnp.cos(jnp.exp(x))), ["x", "q1", "q2", "f"]),
    ("q is taken", lambda q: jnp.sin(jnp.cos(q)), ["q", "h", "f"]),
    ("so is q1, in part", lambda q1: jnp.sin(jnp.cos(q1)), ["q1", "h", "f"]),
    ("f is taken", lambda f: jnp.sin(jnp.cos(f)), ["f", "q", "y"]),
    ("results", lambda x: (x, jnp.sin(x), 3.0), ["x", "f1", "f2", "f3"]),
]


@pytest.mark.parametrize(("f", "names"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
def test_every_value_has_a_name_of_its_own(f, names):
    assert [row.name for row in explain(f)(1.0).forward] == names


def test_what_is_differentiated_is_f_only_if_that_is_one_number():
    assert explain(jnp.sin)(1.0).backward[-1].name == "∂f/∂x"
    assert explain(jnp.sin)(jnp.ones(2)).backward[-1].name == "∂L/∂x"
    assert explain(jnp.sin, y_bar=jnp.float32(2))(1.0).backward[-1].name == "∂L/∂x"
    assert explain(lambda L: jnp.sin(L), y_bar=jnp.float32(2))(1.0).backward[-1].name == "∂E/∂L"  # noqa: N803


def test_arguments_by_name_and_in_trees_are_named_as_paths():
    e = explain(lambda params, *, x: params["w"] * x)({"w": 2.0}, x=3.0)
    assert str(e.forward[-1]) == "f = params/w × x = 2 × 3 = 6"


WRITTEN = [
    (lambda x: -x, 2.0, "−x", "−2"),
    (lambda x: -x, -2.0, "−x", "−(−2)"),
    (lambda x: x**2, -2.0, "x²", "(−2)²"),
    (lambda x: x**-3, 2.0, "x⁻³", "2⁻³"),
    (jnp.abs, -2.0, "|x|", "|(−2)|"),
    (lambda x: x.sum(), jnp.ones(2), "Σ x", "Σ [1, 1]"),
    (lambda x: x.T, jnp.ones((1, 2)), "xᵀ", "[[1, 1]]ᵀ"),
    (lambda x: x[1:], jnp.ones(3), "x[1:]", "[1, 1, 1][1:]"),
    (lambda x: x.sum(axis=0), jnp.ones((2, 1)), "reduce_sum(x; axis 0)", "reduce_sum([[1], [1]]; axis 0)"),
    (lambda x: 3 / x, 2.0, "3 ÷ x", "3 ÷ 2"),
    (lambda x: x * 2j, 1 + 2j, "x × (0 + 2j)", "(1 + 2j) × (0 + 2j)"),
]


@pytest.mark.parametrize(("f", "x", "formula", "numbers"), WRITTEN, ids=[row[3] for row in WRITTEN])
def test_operations_are_written_as_on_paper(f, x, formula, numbers):
    row = explain(lambda x: f(x))(x).forward[-1]
    assert (row.formula, row.numbers) == (formula, numbers)


def test_marks_are_remarks_on_the_way_that_they_concern():
    e = explain(lambda x: jnp.sqrt(nn.relu(x)) - jnp.log(x))(jnp.array([-1.0, -2.0]))
    assert [(row.gate, row.remark) for row in e.forward if row.remark] == [("log", "makes the first NaN")]
    remarks = {row.gate: row.remark for row in e.backward if row.remark}
    assert remarks["sqrt"] == "sends back the first inf"
    assert "remark" in e.tables()[0][0]
    assert "remark" not in explain(jnp.sin)(1.0).tables()[0][0]


def test_where_no_gradient_flows_the_row_says_so():
    e = explain(lambda x: jax.lax.stop_gradient(x) * x)(3.0)
    (stopped,) = [row for row in e.backward if row.gate == "stop_gradient"]
    assert (stopped.working, stopped.downstream, stopped.remark) == ("", None, "no gradient passes")
    assert str(stopped) == "∂f/∂x, use 1 of 2 = none"


def test_integers_have_no_row_on_the_way_back():
    e = explain(lambda x, i: x[i])(jnp.arange(3.0), 1)
    assert {row.name for row in e.backward} >= {"∂f/∂f", "∂f/∂x"}
    assert not any("/∂i" in row.name for row in e.backward)


def test_a_function_of_integers_has_no_way_back():
    e = explain(lambda i: i + 1)(3)
    assert e.backward == ()
    assert str(e).splitlines()[-1] == "add   f        i + 1    3 + 1       4"
    assert e._repr_markdown_().endswith("| add | f | i + 1 | 3 + 1 | 4 |")


def test_boxes_stand_before_the_gate_and_steps_of_a_loop_are_told():
    def f(x):
        return jax.lax.scan(lambda c, a: (c * a, None), 1.0, x)[0]

    closed, steps = explain(f)(jnp.array([2.0, 3.0])), explain(f, unroll=True)(jnp.array([2.0, 3.0]))
    assert closed.forward[-1].formula == "scan × 2 (1, x)"
    assert [row.gate for row in steps.forward][1:] == [
        "scan / step 0 / [0]",
        "scan / step 0 / mul",
        "scan / step 1 / [1]",
        "scan / step 1 / mul",
    ]
    assert str(steps.forward[1]) == "q1 = x[0] = [2, 3][0] = 2"
    np.testing.assert_allclose(steps.backward[-1].downstream, [3.0, 2.0])


def test_a_gate_is_one_row_and_opens_with_depth():
    def f(x):
        return 2 * nn.sigmoid(x)

    assert [row.gate for row in explain(f)(1.0).forward] == ["", "sigmoid", "mul"]
    assert [row.gate for row in explain(f, depth=1)(1.0).forward] == ["", "sigmoid / logistic", "mul"]


def test_folded_layers_are_one_row_with_their_arguments_as_one():
    def f(ws, x):
        for w in ws:
            x = w * x
        return x

    e = explain(f)([0.5] * (FOLD_ABOVE + 4), 1.0)
    assert len(e.forward) < FOLD_ABOVE
    (folded,) = [row for row in e.forward if "more like" in row.gate]
    (bundle,) = [row for row in e.forward if isinstance(row.value, tuple)]
    assert bundle.name in folded.formula
    assert str(bundle).startswith(f"{bundle.name} = {len(bundle.value)} × float32")


def test_rules_are_those_that_are_given():
    doubled = funcnet.RULES | {"sin": funcnet.RULES["cos"]}
    row = explain(jnp.sin, rules=doubled)(1.0).backward[-1]
    np.testing.assert_allclose(row.downstream, -np.sin(1.0), rtol=1e-6)
    np.testing.assert_allclose(row.local, -np.sin(1.0), rtol=1e-6)


def test_an_upstream_gradient_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match="y_bar"):
        explain(jnp.sin, y_bar=jnp.ones(3))(1.0)


def test_columns_are_aligned_also_where_a_macron_stands_above_a_letter():
    x = jnp.ones(20)
    e = explain(jax.lax.select)(x > 0, x, x)
    table = str(e).split("\n\n")[1].splitlines()
    seen = ["".join(c for c in line if not unicodedata.combining(c)) for line in table]
    start = seen[0].index("downstream")
    assert all(line[start - 2 : start + 8] == "  float32 " for line in seen[1:])
    assert str(e) == repr(e)


def test_a_notebook_shows_two_markdown_tables():
    e = explain(lambda x_y: jnp.abs(x_y) * 2)(-1.0)
    forward, backward = e._repr_markdown_().split("\n\n")
    assert forward.splitlines() == [
        "| gate | forward | formula | in numbers | value |",
        "| --- | --- | --- | --- | --- |",
        "|  | x\\_y |  |  | −1 |",
        "| abs | q | \\|x\\_y\\| | \\|(−1)\\| | 1 |",
        "| mul | f | q × 2 | 1 × 2 | 2 |",
    ]
    assert backward.splitlines()[2:] == [
        "|  | ∂f/∂f |  | 1 |",
        "| mul | ∂f/∂q | 2 × 1 | 2 |",
        "| abs | ∂f/∂x\\_y | −1 × 2 | −2 |",
    ]

"""The DOT text: what stands above, below and beside each wire, on each gate, and around them."""

import html
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import nn
from funcnet.drawing.picture import draw
from funcnet.drawing.render.nodes import GREEN, GREY, RED


def nodes(dot):
    """The label of each node by its name."""
    lines = dot.replace("\n", " ")
    return dict(re.findall(r"\b([gw]\d+) \[label=<(.*?)> tooltip=", lines))


def tooltips(dot):
    return {
        name: html.unescape(text) for name, text in re.findall(r'(\w+) \[label=<.*> tooltip="(.*?)"', dot)
    }


def words(label):
    return html.unescape(re.sub("<[^>]*>", " ", label)).replace("\u2009", "").split()


def rows(label):
    """What stands before the wire, above it, behind it and below it."""
    cells = re.fullmatch(
        r"<TABLE[^>]*><TR>(<TD ROWSPAN.*?</TD>)?(<TD PORT=\"n\">.*</TD>?)(<TD ROWSPAN.*</TD>)?</TR>"
        r"<TR><TD PORT=\"p\"[^>]*></TD></TR><TR>(.*)</TR></TABLE>",
        label,
    )
    assert cells, label
    before, above, after, below = (cell or "" for cell in cells.groups())
    if "<TD ROWSPAN" in above:  # the greedy match took it along
        above, after = above.split("<TD ROWSPAN")[0], above.split("<TD ROWSPAN")[1]
    return before, above, after, below


def gates(picture):
    """What is written on the gates, in their order."""
    labels = nodes(picture.dot)
    return [" ".join(words(labels[f"g{gate.number}"])) for gate in picture.diagram]


@pytest.fixture(scope="module")
def product():
    """CS231n 2019, lecture 4, slides 42 to 55."""
    return draw(lambda x, y, z: (x + y) * z, local=True)(-2.0, 5.0, -4.0)


def test_on_every_wire_the_value_is_above_in_green_and_the_gradient_below_in_red(product):
    expected = [("x", "−2", "−4"), ("y", "5", "−4"), ("z", "−4", "3"), ("", "3", "−4"), ("", "−12", "1")]
    labels = nodes(product.dot)
    for i, (name, value, gradient) in enumerate(expected):
        before, above, _, below = rows(labels[f"w{i}"])
        assert words(before) == ([name] if name else [])
        assert above == f'<TD PORT="n"><FONT COLOR="{GREEN}">{value}</FONT></TD>'
        assert below == f'<TD PORT="s"><FONT COLOR="{RED}"><I>{gradient}</I></FONT></TD>'


def test_a_result_is_named_at_its_end(product):
    assert words(rows(nodes(product.dot)["w4"])[2].split(">", 1)[1]) == ["result"]
    several = draw(lambda x: (x, 2 * x))(1.0)
    assert "<B>result 1</B>" in several.dot
    assert "<B>result 2</B>" in several.dot


def test_arrows_lead_through_each_wire_from_gate_to_gate(product):
    arrows = re.findall(r"(\w+)[:\w]* -> (\w+)", product.dot)
    assert arrows == [
        ("w0", "g0"),
        ("w1", "g0"),
        ("g0", "w3"),
        ("w3", "g1"),
        ("w2", "g1"),
        ("g1", "w4"),
    ]


def test_local_gradients_stand_under_their_formula_so_that_local_times_upstream_is_downstream(product):
    assert gates(product) == [
        "+ x̄₁ = ȳ x̄₂ = ȳ ∂y/∂x₁ = 1 ∂y/∂x₂ = 1",
        "× x̄₁ = ȳ · x₂ x̄₂ = ȳ · x₁ ∂y/∂x₁ = −4 ∂y/∂x₂ = 3",
    ]
    for gate in product.diagram:
        (y,) = gate.outputs
        for wire, local in zip(gate.inputs, gate.local, strict=True):
            np.testing.assert_array_equal(local * y.gradient, wire.gradient)


def test_a_local_gradient_is_called_as_the_formula_calls_its_input():
    picture = draw(nn.relu, local=True)(jnp.array([1.0, -2.0, 3.0, -1.0]))
    assert "∂y/∂x = [1, 0, 1, 0]" in gates(picture)[0]


def test_formulas_are_shown_on_request_only(product):
    assert gates(draw(lambda x, y, z: (x + y) * z)(-2.0, 5.0, -4.0)) == ["+", "×"]


def conv_same(x):
    return lax.conv(x, jnp.ones((2, 1, 3, 3)), (2, 2), "SAME")


def conv_valid(x):
    return lax.conv(x, jnp.ones((2, 1, 3, 2)), (1, 1), "VALID")


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3), (1, 2, 2), "VALID")


@pytest.mark.parametrize(
    ("f", "x", "label"),
    [
        (lambda x: x + 1, 1.0, "+ 1"),
        (lambda x: 1 + x, 1.0, "1 +"),
        (lambda x: x - 10, 1.0, "− 10"),
        (lambda x: 10 - x, 1.0, "10 −"),
        (lambda x: x * -0.5, 1.0, "× −0.5"),
        (lambda x: 1 / x, 1.0, "1 ÷"),
        (lambda x: jnp.maximum(x, 0), 1.0, "max 0"),
        (lambda x: lax.min(x, 2.0), 1.0, "min 2"),
        (lambda x: x**2.5, 1.0, "^ 2.5"),
        (lambda x: x + jnp.ones(3), np.ones(3, np.float32), "+ 1"),
        (lambda x: -x, 1.0, "× −1"),
        (lambda x: x**3, 1.0, "x³"),
        (lambda x: x**-2, 1.0, "x⁻²"),
        (lambda x: x**2, 1.0, "x²"),
        (lax.exp, 1.0, "exp"),
        (lax.log, 1.0, "log"),
        (lax.logistic, 1.0, "σ"),
        (lax.sqrt, 1.0, "√"),
        (lax.rsqrt, 1.0, "1/√"),
        (lax.tanh, 1.0, "tanh"),
        (lax.abs, 1.0, "|x|"),
        (lambda x: x > 0, 1.0, "> 0"),
        (lambda x: x == 1, 1.0, "= 1"),
        (lambda x: jnp.where(x > 0, x, 0), 1.0, "where(·, ·, 0)"),
        (lambda x: lax.convert_element_type(x, jnp.int32), 1.0, "to int32"),
        (lambda x: lax.reduce_sum(x, (0, 1)), np.ones((2, 3)), "Σ"),
        (lambda x: lax.reduce_sum(x, (1,)), np.ones((2, 3)), "Σ axis 1"),
        (lambda x: lax.reduce_max(x, (0, 2)), np.ones((2, 3, 1)), "max axes 0, 2"),
        (lambda x: lax.argmax(x, 0, jnp.int32), np.arange(3.0), "argmax"),
        (lambda x: lax.transpose(x, (1, 0)), np.ones((2, 3)), "ᵀ"),
        (lambda x: lax.transpose(x, (2, 0, 1)), np.ones((2, 3, 4)), "ᵀ (2, 0, 1)"),
        (lambda x: lax.reshape(x, (3, 2)), np.ones((2, 3)), "reshape 3×2"),
        (lambda x: lax.squeeze(x, (0,)), np.ones(1), "squeeze scalar"),
        (lambda x: lax.slice(x, (0, 1), (2, 3)), np.ones((2, 4)), "slice [:, 1:3]"),
        (lambda x: lax.slice(x, (0,), (5,), (2,)), np.ones(5), "slice [::2]"),
        (lambda x: lax.broadcast_in_dim(x, (2, 3), (1,)), np.ones(3), "broadcast 2×3"),
        (lambda x: lax.cumsum(x, 0), np.ones(3), "cumsum axis 0"),
        (lambda x: lax.concatenate([x, x], 0), np.ones(3), "concatenate axis 0"),
        (lambda x: x @ x, np.ones((2, 2)), "@"),
        (nn.relu, 1.0, "relu"),
        (
            conv_same,
            np.ones((1, 1, 6, 6)),
            "conv 3×3 stride 2 pad 0+1",
        ),
        (conv_valid, np.ones((1, 1, 6, 6)), "conv 3×2"),
        (
            max_pool,
            np.ones((1, 7, 7)),
            "max pool 3×3 stride 2",
        ),
    ],
)
def test_what_is_written_on_a_gate(f, x, label):
    assert label in gates(draw(f)(x))


def test_a_constant_on_a_label_has_no_wire_and_another_is_grey():
    f = lambda x: x * jnp.array([1.0, 2.0]) + 3  # noqa: E731
    labels = nodes(draw(f)(jnp.ones(2)).dot)
    grey = [label for name, label in labels.items() if name[0] == "w" and GREEN not in label]
    assert len(labels) == 2 + 4  # gates; argument, two results, one constant
    (constant,) = grey
    assert words(constant) == ["1", "2"]
    assert f'PORT="p" BGCOLOR="{GREY}"' in constant
    assert RED not in constant


def test_where_no_gradient_flows_a_float_has_a_dash_and_an_integer_nothing():
    labels = nodes(draw(lambda x, i, b: x * 2)(1.0, 3, 4.0).dot)
    assert [words(rows(labels[f"w{i}"])[3]) for i in range(3)] == [["2"], [], ["–"]]
    assert "<B>unused</B>" in labels["w1"]


def test_a_copy_gate_is_small_and_says_of_the_same_large_value_only_its_kind():
    picture = draw(lambda x: x + lax.sin(x))(jnp.arange(40.0).reshape(5, 8))
    (copy,) = picture.diagram.named("copy")
    labels = nodes(picture.dot)
    assert labels[f"g{copy.number}"] == "copy"
    whole, branch = (labels[f"w{picture.diagram.wires.index(w)}"] for w in (*copy.inputs, copy.outputs[0]))
    assert "colours" in rows(whole)[1]
    assert words(rows(branch)[1]) == ["float32", "5×8"]


def test_severe_marks_are_white_on_black_and_others_bold():
    severe, partial = draw(lambda x: jnp.log(x))(-1.0), draw(nn.relu)(jnp.array([1.0, -1.0]))
    (badge,) = (nodes(picture.dot)["g0"] for picture in (severe,))
    assert re.search('BGCOLOR="black".*COLOR="white".*<B>⚠ makes the first', badge)
    assert 'penwidth="3"' in severe.dot
    assert "<B>⚠ 1 of 2 pass no<BR/>gradient</B>" in nodes(partial.dot)["g0"]
    assert "black" not in nodes(partial.dot)["g0"]
    assert 'penwidth="2"' in partial.dot
    assert "⚠" in tooltips(partial.dot)["g0"]
    assert "⚠" not in draw(lambda x: x * 2)(1.0).dot


def scoped(x):
    with jax.named_scope("outer"):
        y = lax.sin(x)
        with jax.named_scope("inner & <more>"):
            y = y * lax.cos(x)
    return y + 1


def test_boxes_are_nested_frames_with_the_wires_inside_them():
    picture = draw(scoped, depth=2)(1.0)
    frame = re.compile(r"subgraph cluster_\w+ \{ label=<<I>(.*?)</I>>")
    depths, depth, names = {}, [], []
    for line in picture.dot.splitlines():
        if match := frame.match(line):
            depth.append(match[1])
            names.append(match[1])
        elif line == "}" and depth:
            depth.pop()
        elif match := re.match(r"[gw]\d+(?= \[label)", line):
            depths[match[0]] = list(depth)
    outer, inner = "outer", "inner &amp; &lt;more&gt;"
    assert names == [outer, inner]
    where = {gate.name: depths[f"g{gate.number}"] for gate in picture.diagram}
    assert where == {"copy": [], "sin": [outer], "cos": [outer, inner], "mul": [outer, inner], "add": []}
    by_ends = {
        (w.source is not None and picture.diagram.gates[w.source].name): depths.get(f"w{i}")
        for i, w in enumerate(picture.diagram.wires)
    }
    assert by_ends["sin"] == [outer]
    assert by_ends["cos"] == [outer, inner]
    assert by_ends["mul"] == []


def test_tooltips_tell_all_digits_the_formula_its_source_and_the_users_line():
    picture = draw(lambda x: lax.tanh(x) * 3)(0.1)
    texts = tooltips(picture.dot)
    assert texts["w0"].startswith("x\nvalue float32: 0.1\ngradient float32: 2.97019")
    assert texts["g0"].startswith("tanh\nx̄ = ȳ · sech²(x)\nNIST DLMF §4.34")
    assert "test_dot.py:" in texts["g0"]


def test_names_of_all_kinds_come_through():
    def f(tree):
        def function(x):
            return 2 * x

        function.__name__ = '<a & "b">'
        return jax.jit(function)(tree['x<y & "z"']) + tree["größe"]

    picture = draw(f)({'x<y & "z"': 1.0, "größe": 2.0})
    labels = nodes(picture.dot)
    assert "&lt;a &amp; &quot;b&quot;&gt;" in labels["g0"]
    assert "<B>tree/größe</B>" in labels["w0"]
    assert "<B>tree/<BR/>x&lt;y &amp; &quot;z&quot;</B>" in labels["w1"]
    assert picture._repr_svg_().count("größe") >= 2  # label and tooltip


def test_a_short_graph_leads_to_the_right_and_a_long_one_down():
    short = draw(lambda x: lax.sin(lax.cos(x)))(1.0)
    assert "rankdir=LR" in short.dot
    assert "w0:p:e -> g0" in short.dot

    def long(x):
        for _ in range(15):
            x = lax.sin(x)
        return x

    assert "rankdir=TB" in draw(long)(1.0).dot
    assert "w0:s:s -> g0" in draw(long)(1.0).dot


@pytest.mark.parametrize(
    ("f", "x", "y_bar", "ones"),
    [
        (lax.sin, 1.0, None, False),
        (lax.sin, np.ones(2, np.float32), None, True),
        (lax.sin, np.ones(2, np.float32), np.full(2, 3, np.float32), False),
    ],
)
def test_the_legend_says_what_is_above_and_below_and_an_upstream_gradient_of_ones(f, x, y_bar, ones):
    legend = re.search("^rankdir.*label=<(.*)>$", draw(f, y_bar=y_bar)(x).dot, re.MULTILINE)
    assert " ".join(words(legend[1])).startswith("above the wire: value → below: gradient ←")
    assert ("upstream gradient of the result: ones" in legend[1]) == ones


def test_a_closed_layer_says_its_windows_and_how_many_numbers_it_reads():
    params = nn.init_convnet(jax.random.key(0), (8, 8, 1), 3, channels=(4, 6), hidden=5)
    x = jnp.ones((2, 8, 8, 1))
    written = gates(draw(nn.convnet)(params, x))
    assert written[0].startswith("conv1 conv 3×3 pad same max_pool 2×2 stride 2 40 numbers of params")
    assert written[1].startswith("conv2 conv 3×3 pad same max_pool 2×2 stride 2 222 numbers of params")


@pytest.mark.parametrize(
    ("f", "shape", "label"),
    [
        (lambda x: nn.conv(x, jnp.ones((3, 3, 2, 4)), stride=2), (7, 7, 2), "conv 3×3 stride 2"),
        (lambda x: nn.conv(x, jnp.ones((3, 1, 2, 4)), padding=1), (7, 7, 2), "conv 3×1 pad 1"),
        (
            lambda x: nn.conv(x, jnp.ones((3, 3, 1, 4)), dilation=2, groups=2),
            (7, 7, 2),
            "conv 3×3 dilation 2×2 in 2 groups",
        ),
        (lambda x: nn.depthwise_conv(x, jnp.ones((3, 3, 2))), (7, 7, 2), "depthwise_conv 3×3 pad same"),
        (lambda x: nn.max_pool(x, size=(3, 3), stride=2), (7, 7, 2), "max_pool 3×3 stride 2"),
        (lambda x: nn.avg_pool(x, size=(2,)), (8, 2), "avg_pool 2 stride 2"),
    ],
)
def test_a_gate_with_a_window_says_kernel_stride_and_padding(f, shape, label):
    assert gates(draw(f)(jnp.ones(shape)))[-1].startswith(label)

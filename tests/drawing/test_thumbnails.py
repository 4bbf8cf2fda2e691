"""Values in little room: their digits, their summaries, their tables and heat maps."""

import html
import re

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from funcnet.drawing.diagram.arrays import norm, uniform
from funcnet.drawing.render.numbers import aligned, array_type, full, in_line, number, share, summary
from funcnet.drawing.render.thumbnails import block_means, escaped, fits_a_table, thumbnail

NAN, INF = float("nan"), float("inf")


def texts(picture):
    """The pieces of text in Graphviz's HTML."""
    return [html.unescape(text).strip("\u2009") for text in re.findall(r"[^<>]+(?=<|$)", picture)]


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (-2.0, "−2"),
        (0.7310586, "0.731"),
        (-0.196611933, "−0.197"),
        (1.3678794, "1.37"),
        (677.4, "677"),
        (2080.0, "2080"),
        (123456.7, "123457"),
        (0.00123456, "0.00123"),
        (-6.125e-05, "−6.12e−5"),
        (1.5e-323, "1.48e−323"),
        (3.3e21, "3.3e21"),
        (231, "231"),
        (-(2**31), "−2.15e9"),
        (True, "True"),
        (NAN, "NaN"),
        (INF, "∞"),
        (-INF, "−∞"),
        (1 + 2j, "1 + 2j"),
        (-1.5 - 0.25j, "−1.5 − 0.25j"),
        (complex(NAN, INF), "NaN + ∞j"),
    ],
)
def test_a_number_has_three_digits(x, text):
    assert number(x) == text


@pytest.mark.parametrize(
    ("xs", "written"),
    [
        ([2, 1, -3], ["2", "1", "−3"]),
        ([2.0, 1.0, -3.0], ["2", "1", "−3"]),
        ([0.22, 0.26], ["0.22", "0.26"]),
        ([0.088, 0.176, 0.104], ["0.088", "0.176", "0.104"]),
        ([1.62261, -0.43359, 0.0], ["1.62", "−0.43", "0"]),
        ([123.4, 0.5, 7.25], ["123", "0.5", "7"]),
        ([3.0, 1e-9], ["3", "1e−9"]),
        ([1.5, NAN, -INF], ["1.5", "NaN", "−∞"]),
        ([1e9, 1.0], ["1e9", "1"]),
        ([0.0, 0.0], ["0", "0"]),
        ([NAN, NAN], ["NaN", "NaN"]),
        ([True, False], ["True", "False"]),
        ([1j, 2.0 + 0j], ["0 + 1j", "2 + 0j"]),
        ([], []),
    ],
)
def test_the_numbers_of_a_table_have_as_many_decimals_and_only_a_zero_is_written_0(xs, written):
    assert aligned(xs) == written


@pytest.mark.parametrize(
    ("array", "dtype", "lines"),
    [
        (np.linspace(-1, 1, 20), "float32", ["−1 ██████████ 1", "‖·‖ 2.71"]),
        ([0.0] * 18 + [1.0, 2.0], "float16", ["0 █▁▁▁▁▂▁▁▁▂ 2", "‖·‖ 2.24", "90 % zeros"]),
        ([0.5] * 20, "bfloat16", ["all 0.5", "‖·‖ 2.24"]),
        ([0.0] * 20, "float32", ["all 0"]),
        ([3.0] * 17 + [NAN] * 2 + [-INF], "float32", ["all others 3", "2 NaN, 1 ∞", "‖·‖ 12.4"]),
        ([NAN] * 20, "float32", ["20 NaN"]),
        (range(20), "int8", ["0 ██████████ 19"]),
        ([2**63] * 9 + [0], "uint64", ["0 ▂▁▁▁▁▁▁▁▁█ 9.22e18", "10 % zeros"]),
        ([-4, 3] * 10, "int4", ["−4 █▁▁▁▁▁▁▁▁█ 3"]),
        ([True] * 8 + [False] * 12, "bool", ["40 % true"]),
        ([3 + 4j, 5j] * 10, "complex64", ["all |z| 5", "‖·‖ 22.4"]),
        ([], "float32", ["empty"]),
        ([1e308, -1e308] * 5, "float64", ["−1e308 █▁▁▁▁▁▁▁▁█ 1e308", "‖·‖ ∞"]),
    ],
)
def test_a_summary_says_range_norm_zeros_and_what_is_not_finite(array, dtype, lines):
    assert summary(np.asarray(array).astype(getattr(ml_dtypes, dtype, None) or dtype)) == lines


def test_a_bundle_is_summarized_as_one():
    bundle = (jnp.zeros((2, 3)), jnp.ones((2, 3)), jnp.ones((2, 3)))
    assert summary(bundle) == ["0 ▅▁▁▁▁▁▁▁▁█ 1", "‖·‖ 3.46", "33 % zeros"]
    assert array_type(bundle) == "3 × float32 2×3"
    assert array_type((np.zeros(2), np.zeros(3))) == "2 × float64 2, …"
    assert full(bundle).startswith("3 × float32 2×3: 0 ▅")


def test_a_norm_neither_overflows_nor_vanishes():
    assert norm(np.array([3e200, 4e200])) == pytest.approx(5e200)
    assert norm(np.array([3e-200, 4e-200])) == pytest.approx(5e-200)


def test_a_share_that_is_not_all_does_not_look_like_all():
    assert [share(x) for x in (0.0, 1e-6, 0.5, 1 - 1e-6, 1.0)] == ["0 %", "<1 %", "50 %", ">99 %", "100 %"]


def test_only_what_is_one_number_everywhere_is_uniform():
    assert uniform(np.full((2, 3), 0.25)) == 0.25
    assert uniform(jnp.bfloat16(2)) == 2
    for other in (
        np.arange(2),
        np.array([NAN, NAN]),
        np.zeros(0),
        (np.ones(2), np.ones(2)),
        jax.random.key(0),
    ):
        assert uniform(other) is None


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.float32(-0.53444666), ["−0.534"]),
        (2.5, ["2.5"]),
        (np.array([1.0, -2.0, 3.0, -1.0]), ["1", "−2", "3", "−1"]),
        (np.array([[0.1, 0.5], [-0.3, 0.8]]), ["0.1", "0.5", "−0.3", "0.8"]),
        (np.array([True, False]), ["True", "False"]),
        (np.array([1j]), ["0 + 1j"]),
        (np.ones(3), ["1", "1", "1"]),
        (np.ones(4), ["float64 4", "all 1", "‖·‖ 2"]),
        (np.zeros((0, 3), np.float32), ["float32 0×3", "empty"]),
        (np.arange(9.0), ["float64 9", "0 ████▁█████ 8", "‖·‖ 14.3", "11 % zeros"]),
        (jax.random.key(0), ["key<fry>"]),
        (np.ones((2, 2, 5)), ["float64 2×2×5", "all 1", "‖·‖ 4.47"]),
        ((np.ones(2), np.ones(2)), ["2 × float64 2", "all 1", "‖·‖ 2"]),
    ],
)
def test_small_values_are_shown_number_by_number_and_large_ones_by_their_summary(value, written):
    assert texts(thumbnail(value, str)) == written


def test_the_ink_is_on_every_piece_of_text():
    for value in (np.float32(2), np.array([1.0, 2.0]), np.arange(40.0).reshape(5, 8), jax.random.key(0)):
        picture = thumbnail(value, "<I>{}</I>".format)
        assert len(re.findall("<I>[^<]+</I>", picture)) == len(texts(picture))


@pytest.mark.parametrize(
    ("shape", "small"),
    [
        ((), True),
        ((8,), True),
        ((9,), False),
        ((6, 6), True),
        ((7, 2), False),
        ((2, 2, 2), False),
        ((0,), False),
    ],
)
def test_what_fits_a_table(shape, small):
    assert fits_a_table(np.arange(np.prod(shape, dtype=int)).reshape(shape)) == small


def colors(picture):
    return re.findall(r'BGCOLOR="(#\w+)"', picture)


def test_a_heat_map_is_blue_below_zero_brown_above_white_at_zero_and_black_for_nan():
    array = np.zeros((7, 8))
    array[0, :3] = [-2.0, 2.0, NAN]
    picture = thumbnail(array, str)
    assert colors(picture)[:4] == ["#2166ac", "#b35806", "#000000", "#ffffff"]
    assert len(colors(picture)) == 7 * 8
    assert "colours to ±2" in picture


def test_a_large_matrix_has_at_most_ten_by_ten_cells_each_the_mean_of_its_block():
    array = np.random.default_rng(0).normal(size=(64, 23))
    means = block_means(array)
    assert means.shape == (10, 10)
    np.testing.assert_allclose(means[0, 0], array[:6, :2].mean())
    np.testing.assert_allclose(means[9, 9], array[57:, 20:].mean())
    assert len(colors(thumbnail(array, str))) == 100


@pytest.mark.parametrize(
    "array", [np.ones((9, 9)), np.full((9, 9), NAN), np.ones((9, 9), bool), np.arange(99.0)]
)
def test_where_there_is_nothing_to_see_there_is_no_heat_map(array):
    assert not colors(thumbnail(array, str))


def test_full_tells_all_digits_of_a_few_and_the_ends_of_many():
    assert full(np.float32(1 / 3)) == "float32: 0.33333334"
    assert full(np.array([1, 2])) == "int64 2: [1 2]"
    assert "..." in full(np.arange(1000))
    assert len(full(np.random.default_rng(0).normal(size=(30, 30, 30, 30)))) < 1100
    assert full(jax.random.key(7)) == "key<fry>: [0 7]"


def test_in_line_lists_a_few_and_summarizes_many():
    assert in_line(np.array([1.0, 0.0, 1.0, 0.0])) == "[1, 0, 1, 0]"
    assert in_line(np.float32(-3)) == "−3"
    assert in_line(np.arange(20.0)) == "0 ██████████ 19, ‖·‖ 49.7"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('<a & "b">', "&lt;a &amp; &quot;b&quot;&gt;"),
        ("it's", "it&#x27;s"),
        ("C:\\Names", "C:\\\\Names"),
        ("two\nlines", "two&#10;lines"),
        ("ünï 层 x̄", "ünï 层 x̄"),
        ("\x00\x1b", "��"),
    ],
)
def test_any_text_is_escaped(text, written):
    assert escaped(text) == written

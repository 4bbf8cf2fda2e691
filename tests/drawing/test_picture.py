"""The picture: its data, its files, what a notebook shows, and what happens without Graphviz."""

import html
import re
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn
from funcnet._errors import MissingPackageError, ParameterError, ShapeError, WriteError
from funcnet.drawing.picture import SUFFIXES, Picture, draw


def product(x, y, z):
    return (x + y) * z


@pytest.fixture(scope="module")
def picture():
    return draw(product)(-2.0, 5.0, -4.0)


@pytest.fixture
def no_graphviz(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


def test_the_data_of_a_picture_are_the_numbers_of_the_slide(picture):
    shown = {wire.name: (float(wire.value), float(wire.gradient)) for wire in picture.diagram.inputs}
    assert shown == {"x": (-2, -4), "y": (5, -4), "z": (-4, 3)}
    assert [float(wire.value) for wire in picture.diagram.results] == [-12]


def test_arguments_may_be_given_by_name_and_the_upstream_gradient_too():
    drawn = draw(product, y_bar=jnp.float32(2))(-2.0, y=5.0, z=-4.0)
    assert float(drawn.diagram["z"].gradient) == 6
    with pytest.raises(ShapeError):
        draw(product, y_bar=jnp.ones(3))(-2.0, 5.0, -4.0)


def test_a_gate_is_one_box_that_depth_opens():
    def f(x):
        return nn.tanh(x) * 2

    assert [gate.name for gate in draw(f)(1.0).diagram] == ["tanh", "mul"]
    opened = draw(f, depth=1)(1.0).diagram.gates[0]
    assert opened.primitive == "tanh"
    assert [box.name for box in opened.path] == ["tanh"]


STARTS = {
    ".svg": b"<?xml",
    ".png": b"\x89PNG\r\n",
    ".pdf": b"%PDF",
    ".dot": b"digraph",
    ".html": b"<!doctype html>",
}


@pytest.mark.parametrize("name", [*(f"g{suffix}" for suffix in SUFFIXES), "G.v2.SVG"])
def test_save_writes_what_the_name_ends_in(picture, tmp_path, name):
    picture.save(tmp_path / name)
    picture.save(str(tmp_path / name))  # replaced
    assert (tmp_path / name).read_bytes().startswith(STARTS[Path(name).suffix.lower()])
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_every_format_has_its_first_bytes_here_and_is_in_the_help():
    assert set(STARTS) == set(SUFFIXES)
    assert [suffix for suffix in SUFFIXES if suffix[1:] not in Picture.save.__doc__] == []


@pytest.mark.parametrize("name", ["g.jpeg", "g", "svg"])
def test_another_suffix_is_refused(picture, tmp_path, name):
    known = re.escape(", ".join(SUFFIXES))
    with pytest.raises(ParameterError, match=rf"got '{name}', expected a name that ends in {known}"):
        picture.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_leaves_the_old_one(picture, tmp_path, monkeypatch):
    path = tmp_path / "g.dot"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(WriteError, match=r"No space left.*is kept"):
        picture.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_reported(picture, tmp_path):
    with pytest.raises(WriteError, match="cannot write"):
        picture.save(tmp_path / "nowhere" / "g.svg")


def test_a_notebook_shows_svg_with_tooltips(picture):
    svg = picture._repr_svg_()
    assert "−12</text>" in svg
    assert "value float32: -12." in html.unescape(svg)
    assert picture._repr_html_() == svg[svg.index("<svg") :]


class Printer:
    """What IPython hands to `_repr_pretty_`."""

    def text(self, text):
        self.printed = text


def test_its_text_is_short_where_it_can_be_drawn(picture):
    printer = Printer()
    picture._repr_pretty_(printer, False)
    assert printer.printed == repr(picture) == 'Picture of 2 gates: .save("graph.svg"), .dot, .diagram'
    assert str(picture) == picture.dot


def test_without_graphviz_there_is_dot(no_graphviz, tmp_path):
    picture = draw(product)(-2.0, 5.0, -4.0)
    printer = Printer()
    picture._repr_pretty_(printer, False)
    assert printer.printed == picture.dot
    assert picture._repr_svg_() is None
    assert picture._repr_html_() is None
    picture.save(tmp_path / "g.dot")
    assert (tmp_path / "g.dot").read_text() == picture.dot


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix not in (".dot", ".html")])
def test_without_graphviz_the_other_files_say_what_to_install(no_graphviz, picture, tmp_path, suffix):
    with pytest.raises(MissingPackageError, match=r"pip install pygraphviz.*\.dot, which needs nothing"):
        picture.save(tmp_path / f"g{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_picture_cannot_be_changed(picture):
    with pytest.raises(AttributeError):
        picture.diagram = None


def test_values_of_all_kinds_can_be_drawn(tmp_path):
    import jax

    def f(x, mask, key, z, empty, nan):
        return x * 2, mask, key, jnp.abs(z), empty, nan + 1

    args = (
        jnp.linspace(0, 1, 40).astype(jnp.bfloat16).reshape(4, 10),
        np.array([True, False]),
        jax.random.key(0),
        jnp.array([1 + 2j]),
        jnp.zeros((0, 3)),
        jnp.array([jnp.nan, jnp.inf]),
    )
    picture = draw(f)(*args)
    for text in ("bfloat16 4×10", "True", "key&lt;fry&gt;", "1 + 2j", "empty", "NaN", "∞"):
        assert text in picture.dot
    assert picture._repr_svg_()


def test_nothing_is_printed(picture, tmp_path, capfd):
    picture.save(tmp_path / "g.png")
    assert capfd.readouterr() == ("", "")

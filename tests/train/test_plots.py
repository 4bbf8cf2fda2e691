"""The pictures of a run, checked on what is drawn: lines, pixels, names."""

import matplotlib
import numpy as np
import pytest

from funcnet._errors import WriteError
from funcnet.train import plots
from funcnet.train.run import Row

NAMES = "epoch", "step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds"
NUMBERS = (1, 10, 2.3, 0.1, 2.2, 0.2, 0.5), (2, 20, 1.9, 0.4, 2.0, 0.3, 0.1)
HISTORY = [Row(**dict(zip(NAMES, row, strict=True))) for row in NUMBERS]


def net(*weights):
    return {f"layer{i}": {"w": w} for i, w in enumerate(weights, start=1)}


def pixels(figure):
    """The mosaic as it was handed to the axes, NaN between the panels."""
    return figure.axes[0].images[0].get_array().filled(np.nan)


def test_curves_show_each_column_of_the_history_against_the_epoch():
    loss, accuracy = plots.curves(HISTORY, "digits").axes
    drawn = {
        f"{line.get_label()}_{axes.get_ylabel()}": (line.get_xdata(), line.get_ydata())
        for axes in (loss, accuracy)
        for line in axes.lines
    }
    assert set(drawn) == {"train_loss", "validation_loss", "train_accuracy", "validation_accuracy"}
    for name, (epochs, values) in drawn.items():
        np.testing.assert_array_equal(epochs, [1, 2])
        np.testing.assert_array_equal(values, [getattr(row, name) for row in HISTORY])


def test_curves_are_labelled():
    figure = plots.curves(HISTORY, "a $title$ as it is")
    assert figure.get_suptitle() == "a $title$ as it is"
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [
        ("epoch", "loss"),
        ("epoch", "accuracy"),
    ]
    for axes in figure.axes:
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "validation"]


def test_a_class_template_is_its_column_of_weights_folded_into_an_image():
    w = np.arange(1.0, 13.0).reshape(6, 2)  # 2 × 3 pixels, two classes
    figure = plots.templates(net(w), (2, 3), ["cat", "dog"])
    drawn = pixels(figure)
    panels = drawn[~np.isnan(drawn).all(axis=1)][:, ~np.isnan(drawn).all(axis=0)]
    np.testing.assert_array_equal(panels, [[1, 3, 5, 2, 4, 6], [7, 9, 11, 8, 10, 12]])
    assert [text.get_text() for text in figure.axes[0].texts] == ["cat", "dog"]


def test_hidden_units_come_in_the_order_of_incoming_times_outgoing_norm():
    w_in = np.array([[1.0, 2.0, 3.0]])  # one pixel, three units
    w_out = np.array([[3.0, 4.0], [6.0, 0.0], [0.0, 1.0]])  # norms 5, 6, 1: strengths 5, 12, 3
    drawn = pixels(plots.templates(net(w_in, w_out), (1, 1), ["a", "b"]))
    np.testing.assert_array_equal(drawn[~np.isnan(drawn)], [2, 1, 3])


def test_a_maxout_unit_shows_its_pieces_side_by_side():
    w_in = np.arange(1.0, 9.0).reshape(4, 2, 1)  # 2 × 2 pixels, two pieces, one unit
    figure = plots.templates(net(w_in, np.ones((1, 2))), (2, 2), ["a", "b"])
    drawn = pixels(figure)
    assert "2 pieces each" in figure.get_suptitle()
    np.testing.assert_array_equal(drawn[1:-1, 1:-1], [[1, 3, 2, 4], [5, 7, 6, 8]])


def test_the_colour_scale_is_symmetric_about_zero():
    image = plots.templates(net(np.array([[-1.0, 3.0]])), (1, 1), ["a", "b"]).axes[0].images[0]
    low, high = image.get_clim()
    assert low == -high
    assert 2.9 < high <= 3  # the 99.5 % quantile of |w|


def test_colour_weights_are_shown_in_colour_with_zero_in_the_middle():
    w = np.zeros((3, 1))
    w[:, 0] = [1, 0, -1]  # one pixel: red wanted, blue unwanted
    drawn = pixels(plots.templates(net(w), (1, 1, 3), ["red"]))
    np.testing.assert_allclose(drawn[-2, -2], [1, 0.5, 0])


def test_at_most_100_hidden_units_are_drawn():
    w_in, w_out = np.ones((1, 130)), np.ones((130, 2))
    figure = plots.templates(net(w_in, w_out), (1, 1), ["a", "b"])
    assert figure.get_suptitle() == "Templates of 100 of the 130 hidden units, the strongest first"
    assert np.isfinite(pixels(figure)).sum() == 100


def test_weights_of_zero_can_be_drawn(tmp_path):
    plots.save(plots.templates(net(np.zeros((4, 3))), (2, 2), ["a", "b", "c"]), tmp_path / "t.png")
    assert (tmp_path / "t.png").stat().st_size > 0


def test_saving_writes_one_png_and_leaves_pyplot_alone(tmp_path):
    plots.save(plots.curves(HISTORY, "digits"), tmp_path / "curves.png")
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert matplotlib._pylab_helpers.Gcf.figs == {}


def test_a_folder_that_is_missing_is_reported(tmp_path):
    with pytest.raises(WriteError, match="cannot write"):
        plots.save(plots.curves(HISTORY, "digits"), tmp_path / "nowhere" / "curves.png")

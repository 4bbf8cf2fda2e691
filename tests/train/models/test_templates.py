"""What a first layer has learned, checked on what is drawn: pixels and names."""

import numpy as np

from funcnet.train import plots
from funcnet.train.models import templates


def net(*weights):
    return {f"layer{i}": {"w": w} for i, w in enumerate(weights, start=1)}


def pixels(figure):
    """The mosaic as it was handed to the axes, NaN between the panels."""
    return figure.axes[0].images[0].get_array().filled(np.nan)


def test_a_class_template_is_its_column_of_weights_folded_into_an_image():
    w = np.arange(1.0, 13.0).reshape(6, 2)  # 2 × 3 pixels, two classes
    figure = templates.templates(net(w), (2, 3), ["cat", "dog"])
    drawn = pixels(figure)
    panels = drawn[~np.isnan(drawn).all(axis=1)][:, ~np.isnan(drawn).all(axis=0)]
    np.testing.assert_array_equal(panels, [[1, 3, 5, 2, 4, 6], [7, 9, 11, 8, 10, 12]])
    assert [text.get_text() for text in figure.axes[0].texts] == ["cat", "dog"]


def test_hidden_units_come_in_the_order_of_incoming_times_outgoing_norm():
    w_in = np.array([[1.0, 2.0, 3.0]])  # one pixel, three units
    w_out = np.array([[3.0, 4.0], [6.0, 0.0], [0.0, 1.0]])  # norms 5, 6, 1: strengths 5, 12, 3
    drawn = pixels(templates.templates(net(w_in, w_out), (1, 1), ["a", "b"]))
    np.testing.assert_array_equal(drawn[~np.isnan(drawn)], [2, 1, 3])


def test_a_maxout_unit_shows_its_pieces_side_by_side():
    w_in = np.arange(1.0, 9.0).reshape(4, 2, 1)  # 2 × 2 pixels, two pieces, one unit
    figure = templates.templates(net(w_in, np.ones((1, 2))), (2, 2), ["a", "b"])
    drawn = pixels(figure)
    assert "2 pieces each" in figure.get_suptitle()
    np.testing.assert_array_equal(drawn[1:-1, 1:-1], [[1, 3, 2, 4], [5, 7, 6, 8]])


def test_the_colour_scale_is_symmetric_about_zero():
    image = templates.templates(net(np.array([[-1.0, 3.0]])), (1, 1), ["a", "b"]).axes[0].images[0]
    low, high = image.get_clim()
    assert low == -high
    assert 2.9 < high <= 3  # the 99.5 % quantile of |w|


def test_colour_weights_are_shown_in_colour_with_zero_in_the_middle():
    w = np.zeros((3, 1))
    w[:, 0] = [1, 0, -1]  # one pixel: red wanted, blue unwanted
    drawn = pixels(templates.templates(net(w), (1, 1, 3), ["red"]))
    np.testing.assert_allclose(drawn[-2, -2], [1, 0.5, 0])


def test_at_most_100_hidden_units_are_drawn():
    w_in, w_out = np.ones((1, 130)), np.ones((130, 2))
    figure = templates.templates(net(w_in, w_out), (1, 1), ["a", "b"])
    assert figure.get_suptitle() == "Templates of 100 of the 130 hidden units, the strongest first"
    assert np.isfinite(pixels(figure)).sum() == 100


def test_weights_of_zero_can_be_drawn(tmp_path):
    plots.save(templates.templates(net(np.zeros((4, 3))), (2, 2), ["a", "b", "c"]), tmp_path / "t.png")
    assert (tmp_path / "t.png").stat().st_size > 0

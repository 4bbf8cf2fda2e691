"""The curves of a run, checked on what is drawn: lines and names."""

import matplotlib
import numpy as np
import pytest

from funcnet._errors import WriteError
from funcnet.train import plots
from funcnet.train.run import Row

NAMES = "epoch", "step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds"
NUMBERS = (1, 10, 2.3, 0.1, 2.2, 0.2, 0.5), (2, 20, 1.9, 0.4, 2.0, 0.3, 0.1)
HISTORY = [Row(**dict(zip(NAMES, row, strict=True))) for row in NUMBERS]


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


def test_saving_writes_one_png_and_leaves_pyplot_alone(tmp_path):
    plots.save(plots.curves(HISTORY, "digits"), tmp_path / "curves.png")
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert matplotlib._pylab_helpers.Gcf.figs == {}


def test_a_folder_that_is_missing_is_reported(tmp_path):
    with pytest.raises(WriteError, match="cannot write"):
        plots.save(plots.curves(HISTORY, "digits"), tmp_path / "nowhere" / "curves.png")

"""Whole runs: what they reach, what they write, what they refuse."""

import json
import signal
import threading
from dataclasses import replace

import jax
import numpy as np
import pytest

from funcnet._errors import CheckpointError, DataError, ParameterError, ShapeError
from funcnet.data import Split, load
from funcnet.train import Config, Interrupted, Net, fit, load_run
from funcnet.train import loop as loop_module

SPIRAL = load("spiral")
SMALL = Config(data="spiral", hidden=(10,), batch_size=100, epochs=3, optimizer="adam", learning_rate=3e-3)
METRICS = """epoch,step,train_loss,train_accuracy,validation_loss,validation_accuracy,seconds
1,3,1.1,0.5,1.1,0.5,0.01
"""
FILES = {"config.json", "metrics.csv", "checkpoint.safetensors", "weights.safetensors"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "spiral"
    return fit(SMALL, SPIRAL, folder=folder), folder


def test_digits_with_the_defaults():
    """The test part has 360 digits, so that one of them is 0.003 of the accuracy."""
    accuracies = []
    for seed in range(3):
        digits = load("digits", seed=seed)
        accuracies.append(float(fit(Config(seed=seed), digits).evaluate(digits.test).accuracy))
    assert accuracies[0] >= 0.97
    assert np.mean(accuracies) >= 0.97


@pytest.mark.in_turns(2)
def test_fashion_mnist_with_the_defaults(fashion_mnist):
    """A fully connected net of this size is known to reach 0.890; benchmarks/bench_defaults.py has others."""
    config = Config(data=f"idx:{fashion_mnist}")
    dataset = load(config.data)
    assert fit(config, dataset).evaluate(dataset.test).accuracy >= 0.885


# CS231n case study: 300 points, full batch, step 1, λ 1e-3 with the factor ½, training accuracy.
CASE_STUDY = Config(
    data="spiral",
    batch_size=300,
    optimizer="sgd",
    schedule="constant",
    learning_rate=1.0,
    regularization=5e-4,
    init="normal",
)


@pytest.mark.parametrize(
    ("hidden", "epochs", "low", "high"), [((), 200, 0.46, 0.56), ((100,), 2000, 0.98, 1.0)]
)
def test_the_case_study_of_the_course(hidden, epochs, low, high):
    run = fit(replace(CASE_STUDY, hidden=hidden, epochs=epochs), SPIRAL)
    assert low <= run.evaluate(SPIRAL.train).accuracy <= high


def test_history_has_a_row_for_each_epoch(finished):
    run, _ = finished
    assert [(row.epoch, row.step) for row in run.history] == [(1, 3), (2, 6), (3, 9)]
    validation = run.evaluate(SPIRAL.validation)
    last = run.history[-1]
    np.testing.assert_allclose((last.validation_loss, last.validation_accuracy), validation, rtol=1e-6)
    assert last.train_loss < run.history[0].train_loss


def test_a_run_reads_back_as_it_was(finished):
    run, folder = finished
    again = load_run(folder)
    assert {path.name for path in folder.iterdir()} == FILES
    assert (again.config, again.classes, again.image_shape) == (run.config, run.classes, run.image_shape)
    assert again.history == run.history
    np.testing.assert_array_equal(again.scores(SPIRAL.test.x), run.scores(SPIRAL.test.x))
    np.testing.assert_array_equal(again.predict(SPIRAL.test.x), run.scores(SPIRAL.test.x).argmax(axis=1))
    assert (again.predict(SPIRAL.test.x) == SPIRAL.test.y).mean() == pytest.approx(
        again.evaluate(SPIRAL.test)[1]
    )


def test_a_run_without_a_folder_is_the_same(finished):
    run, _ = finished
    jax.tree.map(np.testing.assert_array_equal, fit(SMALL, SPIRAL).params, run.params)


def test_resuming_a_finished_run_changes_nothing(finished):
    run, folder = finished
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = fit(SMALL, SPIRAL, folder=folder, resume=True)
    assert again.history == run.history
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_float64_inside_and_float32_outside(tmp_path):
    run = fit(replace(SMALL, dtype="float64"), SPIRAL, folder=tmp_path / "run")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(run.params)} == {"float64"}
    assert jax.numpy.ones(1).dtype == np.float32
    again = load_run(tmp_path / "run")
    assert again.scores(SPIRAL.test.x).dtype == np.float64
    np.testing.assert_array_equal(again.scores(SPIRAL.test.x), run.scores(SPIRAL.test.x))


def test_a_folder_with_a_run_is_not_overwritten(finished):
    _, folder = finished
    with pytest.raises(
        CheckpointError, match=r"already holds a run \(it has config.json\).*Resume that run, or choose"
    ):
        fit(SMALL, SPIRAL, folder=folder)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot make the folder"):
        fit(SMALL, SPIRAL, folder=tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (replace(SMALL, batch_size=50), "another configuration: batch_size was 100 and is 50 now"),
        (replace(SMALL, hidden=(9,)), r"another configuration: hidden was \[10\] and is \[9\] now"),
    ],
)
def test_resuming_with_another_configuration(config, words, finished):
    _, folder = finished
    with pytest.raises(CheckpointError, match=words):
        fit(config, SPIRAL, folder=folder, resume=True)


def test_resuming_with_another_data_set(finished):
    _, folder = finished
    fewer = replace(SPIRAL, train=Split(SPIRAL.train.x[:299], SPIRAL.train.y[:299]))
    with pytest.raises(CheckpointError, match="another data set: training examples was 300 and is 299 now"):
        fit(SMALL, fewer, folder=folder, resume=True)


def test_resuming_without_a_folder():
    with pytest.raises(ParameterError, match="resume is True without a folder; give the folder"):
        fit(SMALL, SPIRAL, resume=True)


def test_resuming_where_there_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match="holds no run"):
        fit(SMALL, SPIRAL, folder=tmp_path, resume=True)


def test_resuming_a_run_killed_before_its_first_checkpoint(finished, tmp_path):
    run, folder = finished
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    again = fit(SMALL, SPIRAL, folder=tmp_path, resume=True)
    jax.tree.map(np.testing.assert_array_equal, again.params, run.params)


def test_an_unfinished_run_cannot_be_used(finished, tmp_path):
    _, folder = finished
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"has not finished: it has no weights\.safetensors"):
        load_run(tmp_path)


def test_weights_of_another_net(finished, tmp_path):
    _, folder = finished
    for name in FILES:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    other = {**json.loads(SMALL.to_json()), "hidden": [11]}
    (tmp_path / "config.json").write_text(json.dumps(other))
    with pytest.raises(CheckpointError, match=r"layer1/b is float32 \[10\], expected float32 \[11\]"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "epoch,step\n1,two\n", METRICS.replace("0.5", "half"), METRICS + "2,6\n"]
)
def test_damaged_metrics(text, finished, tmp_path):
    _, folder = finished
    for name in FILES:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(CheckpointError, match=r"metrics.csv is missing or damaged"):
        load_run(tmp_path)


@pytest.mark.parametrize("shape", [(5, 3), (2,)])
def test_inputs_of_another_width(shape, finished, no_shape_checks):
    run, _ = finished
    with pytest.raises(ShapeError, match=r"this net takes \[examples, 2\], as in its data set spiral"):
        run.predict(np.zeros(shape, np.float32))


@pytest.mark.parametrize("measure", [Net.evaluate, Net.confusion, lambda run, part: run.top(part, 2)])
def test_labels_of_other_classes_are_not_measured(measure, finished):
    run, _ = finished
    with pytest.raises(
        DataError, match="1 of 2 labels are no class, the first is 3; expected 0 to 2 for the 3"
    ):
        measure(run, Split(SPIRAL.test.x[:2], np.int32([0, 3])))


def test_a_data_set_is_loaded_first(no_shape_checks):
    with pytest.raises(ParameterError, match=r"the data set is 'spiral'; expected what .*load makes"):
        fit(SMALL, "spiral")


def test_what_cannot_fit_is_refused_before_it_is_made():
    with pytest.raises(ParameterError, match=r"training 1e\+12 parameters with adam.* needs 16 TB"):
        fit(replace(SMALL, hidden=(10**6, 10**6)), SPIRAL)


@pytest.fixture
def ctrl_c_at_step_3(monkeypatch):
    """Presses Ctrl-C while the first chunk is running."""

    def take_chunk(task, state, *rest):
        if int(state.step) == 0:
            signal.raise_signal(signal.SIGINT)
        return loop_take_chunk(task, state, *rest)

    loop_take_chunk = loop_module.take_chunk
    monkeypatch.setattr(loop_module, "take_chunk", take_chunk)


def test_ctrl_c_saves_and_the_run_can_be_resumed(finished, tmp_path, ctrl_c_at_step_3):
    run, _ = finished
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"stopped at step 3 of 9; the run is saved in .*spiral"):
        fit(SMALL, SPIRAL, folder=tmp_path / "spiral", save_every=1e9)
    assert signal.getsignal(signal.SIGINT) is handler
    again = fit(SMALL, SPIRAL, folder=tmp_path / "spiral", resume=True)
    jax.tree.map(np.testing.assert_array_equal, again.params, run.params)


def test_ctrl_c_without_a_folder_stops_at_once(ctrl_c_at_step_3):
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(SMALL, SPIRAL)
    assert caught.type is KeyboardInterrupt


def test_a_second_ctrl_c_does_not_wait(tmp_path, monkeypatch):
    def take_chunk(*args):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second Ctrl-C did not raise")

    monkeypatch.setattr(loop_module, "take_chunk", take_chunk)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(SMALL, SPIRAL, folder=tmp_path / "run")
    assert caught.type is KeyboardInterrupt


def test_a_thread_trains_too(finished, tmp_path):
    run, _ = finished
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(SMALL, SPIRAL, folder=tmp_path / "run")))
    thread.start()
    thread.join()
    jax.tree.map(np.testing.assert_array_equal, results[0].params, run.params)


def test_the_bar_shows_on_a_terminal_only(capfd):
    fit(SMALL, SPIRAL, progress=True)
    assert capfd.readouterr().err == ""

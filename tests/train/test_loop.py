"""The loop on losses of all kinds: what it logs, what a hook may do, what it refuses to go on with."""

import csv
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnet._errors import CheckpointError, GradientError, NonFiniteError, ParameterError, WriteError
from funcnet.backprop import value_and_grad
from funcnet.train import Run, StopTraining, fit, from_source, in_memory, init, load_run
from funcnet.train.checkpoint import read
from funcnet.train.run import Log
from funcnet.train.state import step_key

pytestmark = pytest.mark.in_turns(2)

rng = np.random.default_rng(3)
X = rng.standard_normal((250, 2), np.float32)
DATA = X, X @ np.float32([2, -1])
W = np.zeros(2, np.float32)
OPTIMIZER = optax.adam(0.05)


def loss(w, batch, key):
    """Least squares under dropout of inputs, so that keys count."""
    x, y = batch
    kept = jax.random.bernoulli(key, 0.9, x.shape)
    return jnp.mean((jnp.where(kept, x, 0) @ w - y) ** 2), {
        "norm": jnp.sum(w**2),
        "w": w,
        "by": {"x": jnp.sum(abs(w))},
    }


def drawn(key):
    x = jax.random.normal(key, (8, 2))
    return x, x @ jnp.array([2.0, -1.0])


def train(batches=None, steps=25, **options):
    batches = in_memory(DATA, 25) if batches is None else batches
    return fit(loss, W, batches, optimizer=OPTIMIZER, steps=steps, **options)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, (a.params, a.optimizer_state), (b.params, b.optimizer_state))


KINDS = {
    "memory": lambda: in_memory(DATA, 25),
    "source": lambda: from_source(DATA, 25),
    "drawn": lambda: drawn,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_two_parts_is_the_run_in_one(kind, tmp_path):
    """Stopped in the middle of an epoch of ten steps, and again where a hook wants it."""

    def stop(state, metrics):
        raise StopTraining

    whole = train(KINDS[kind](), steps=40)
    train(KINDS[kind](), steps=13, folder=tmp_path / "run")
    train(KINDS[kind](), steps=40, folder=tmp_path / "run", resume=True, hook=stop)
    assert 13 < read(tmp_path / "run/checkpoint.safetensors")[0]["step"] <= 40
    assert_equal(train(KINDS[kind](), steps=40, folder=tmp_path / "run", resume=True), whole)


def test_a_random_key_in_the_optimizers_state_is_saved_and_read(tmp_path):
    noisy = optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(1)), optax.sgd(0.05))

    def trained(steps, **options):
        return fit(loss, W, in_memory(DATA, 25), optimizer=noisy, steps=steps, **options)

    trained(13, folder=tmp_path / "run")
    resumed = trained(40, folder=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(resumed.params, trained(40).params)


def test_a_random_key_that_the_loss_keeps_is_saved_and_read(tmp_path):
    def noisy(params, batch):
        key, drawn = jax.random.split(params["key"])
        return loss(params["w"], batch, drawn)[0], {}, {"key": key}

    params = {"w": W, "key": jax.random.key(1)}

    def trained(steps, **options):
        return fit(noisy, params, in_memory(DATA, 25), optimizer=OPTIMIZER, steps=steps, **options)

    trained(13, folder=tmp_path / "run")
    resumed = trained(40, folder=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(resumed.params["w"], trained(40).params["w"])
    read = load_run(tmp_path / "run", like=params).params
    assert read["key"] == resumed.params["key"]


def test_memory_and_source_train_alike():
    assert_equal(train(from_source(DATA, 25)), train())


def test_another_seed_gives_another_run():
    assert not np.array_equal(train(seed=1).params, train().params)


def test_rows_are_means_over_epochs_with_what_evaluate_measures(tmp_path):
    metrics = []
    run = train(
        evaluate=lambda w: {"error": jnp.max(abs(w - jnp.array([2.0, -1.0])))},
        hook=lambda state, chunk: metrics.append(chunk),
        folder=tmp_path / "run",
    )
    assert [(row.epoch, row.step) for row in run.history] == [(1, 10), (2, 20), (3, 25)]
    for row, chunk in zip(run.history, metrics, strict=True):
        assert row.train_loss == pytest.approx(np.mean(chunk["loss"], dtype=np.float64))
        assert row.train_norm == pytest.approx(np.mean(chunk["norm"], dtype=np.float64))
        assert vars(row)["train_by/x"] == pytest.approx(np.mean(chunk["by/x"], dtype=np.float64))
        assert row.validation_error == chunk["validation_error"]
        assert chunk["w"].shape == (len(chunk["loss"]), 2)
        assert not hasattr(row, "train_w")
    assert [len(chunk["loss"]) for chunk in metrics] == [10, 10, 5]
    with open(tmp_path / "run/metrics.csv") as file:
        assert next(csv.reader(file)) == [*vars(run.history[0])]
    assert load_run(tmp_path / "run").history == run.history


def test_epochs_that_are_run_together_have_the_rows_of_single_ones():
    """A hook is called after each of them, so with one none are run together."""
    together, singly = train(), train(hook=lambda state, metrics: None)
    assert_equal(together, singly)
    rows = [[vars(row) | {"seconds": 0} for row in run.history] for run in (together, singly)]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == [10, 20, 25]


def test_a_hook_stops_the_run_as_if_it_were_over(tmp_path):
    def patient(state, metrics):
        if metrics["validation_error"] < 1:
            raise StopTraining

    def error(w):
        return {"error": jnp.max(abs(w - jnp.array([2.0, -1.0])))}

    run = train(steps=10_000, evaluate=error, hook=patient, folder=tmp_path / "run")
    *before, last = [row.validation_error for row in run.history]
    assert last < 1 <= min(before)
    np.testing.assert_array_equal(load_run(tmp_path / "run").params, run.params)


def test_a_hook_may_keep_the_states_that_it_gets():
    states = []
    run = train(steps=30, hook=lambda state, metrics: states.append(state))
    assert_equal(states[0], train(steps=10))
    assert_equal(states[-1], run)
    assert len(states) == 3


def test_an_error_in_a_hook_is_the_user_s_own():
    with pytest.raises(ZeroDivisionError):
        train(hook=lambda state, metrics: 1 / 0)


def test_a_hook_sets_what_optax_injects(tmp_path):
    """Steps of 0 from the end of the first epoch on, in a run that is resumed there too."""

    def freeze(state, metrics):
        state.optimizer_state.hyperparams["learning_rate"] = jnp.float32(0)

    def trained(**options):
        optimizer = optax.inject_hyperparams(optax.sgd)(0.1)
        return fit(loss, W, in_memory(DATA, 25), optimizer=optimizer, **options).params

    np.testing.assert_array_equal(trained(steps=30, hook=freeze), trained(steps=10))
    trained(steps=10, hook=freeze, folder=tmp_path)
    resumed = trained(steps=30, folder=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed, trained(steps=10))


def put_a_number(state, metrics):
    state.optimizer_state.hyperparams["learning_rate"] = 0.01


HOOKS = {
    "a state": (lambda state, metrics: state, "returned a State, .* expected StopTraining raised"),
    "True": (lambda state, metrics: True, "returned True, which changes nothing"),
    "StopTraining": (lambda state, metrics: StopTraining, r"returned a type \(StopTraining\), which changes"),
    "a number": (put_a_number, r"no array into the state; expected one, as jax\.numpy\.float32"),
}


@pytest.mark.parametrize(("hook", "words"), HOOKS.values(), ids=HOOKS)
def test_what_a_hook_cannot_change_is_told(hook, words):
    optimizer = optax.inject_hyperparams(optax.sgd)(0.1)
    with pytest.raises(ParameterError, match=words):
        fit(loss, W, in_memory(DATA, 25), optimizer=optimizer, steps=30, hook=hook)


def test_a_run_begins_with_a_state_of_an_optimizer_of_one_s_own():
    first = train(steps=10)
    begun = optax.GradientTransformation(lambda params: first.optimizer_state, OPTIMIZER.update)
    run = fit(loss, first.params, drawn, optimizer=begun, steps=0)
    jax.tree.map(np.testing.assert_array_equal, run.optimizer_state, first.optimizer_state)


@pytest.mark.parametrize("transformed", [jax.jit, jax.vmap], ids=["jit", "vmap"])
def test_a_run_within_a_transformation_is_refused(transformed):
    with pytest.raises(ParameterError, match=r"within jit or vmap, where only train\.advance trains"):
        transformed(lambda w: fit(loss, w, drawn, optimizer=OPTIMIZER, steps=3).params)(jnp.ones((1, 2)))


def test_batches_that_numpy_draws_are_refused_without_a_folder_too():
    draw = lambda key: np.random.default_rng().normal(size=3)  # noqa: E731 — as users write it
    with pytest.raises(ParameterError, match="made two others of one key"):
        fit(lambda w, x: jnp.mean((w - x) ** 2), np.ones(3), draw, optimizer=OPTIMIZER, steps=3)


def test_a_hook_that_goes_elsewhere_leaves_the_run_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    train(folder="run", hook=lambda state, metrics: os.chdir(tmp_path / "elsewhere"), save_every=0.0)
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "run"}
    assert not [*(tmp_path / "elsewhere").iterdir()]


def test_a_mean_is_of_all_steps_of_its_epoch():
    """Not of those alone since the loss of a run that goes on in the middle of one has had a metric more."""
    log = Log().add({"loss": np.ones(3)}, 3, 0.1).add({"loss": np.ones(2), "new": np.ones(2)}, 2, 0.1)
    row = log.close(1, 5, {}).add({"loss": np.ones(1), "new": np.ones(1)}, 1, 0.1).close(2, 6, {})
    assert [hasattr(each, "train_new") for each in row.history] == [False, True]
    assert [each.train_loss for each in row.history] == [1, 1]


def test_a_key_among_the_metrics_is_the_numbers_that_it_is_made_of():
    """In a loop of Python's too, as of a convolution on a CPU."""

    def convolved(w, batch, key):
        return jnp.sum(jnp.convolve(batch[1], w) ** 2), {"key": key}

    seen = []
    fit(convolved, W + 1, drawn, optimizer=OPTIMIZER, steps=3, hook=lambda _, metrics: seen.append(metrics))
    assert seen[0]["key"].shape == (3, 2)
    assert seen[0]["key"].dtype == np.uint32


def test_metrics_of_complex_numbers_are_no_columns():
    def turned(w, batch):
        return jnp.sum(w**2), {"phase": jnp.exp(1j * w[0])}

    seen = []
    hook = lambda state, metrics: seen.append(metrics["phase"])  # noqa: E731 — passed on to fit
    run = fit(turned, W, drawn, optimizer=OPTIMIZER, steps=3, hook=hook)
    assert seen[0].dtype == np.complex64
    assert {*vars(run.history[0])} == {"epoch", "step", "train_loss", "seconds"}


LIKE = {"numpy's": {"w": np.zeros(2), "b": np.float64(0)}, "Python's": {"w": np.zeros(2), "b": 0.0}}


@pytest.mark.parametrize("params", LIKE.values(), ids=LIKE)
def test_params_are_read_back_like_those_that_were_handed_over(params, tmp_path):
    """Which JAX has had in float32."""

    def line(params, batch):
        x, y = batch
        return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)

    run = fit(line, params, in_memory(DATA, 25), optimizer=OPTIMIZER, steps=3, folder=tmp_path)
    jax.tree.map(np.testing.assert_array_equal, load_run(tmp_path, like=params).params, run.params)


def test_params_are_read_back_as_nested_dictionaries_or_as_they_were(tmp_path):
    params = {"dense": {"kernel": np.ones((2, 1), np.float32)}, "list": [np.zeros(1, np.float32)]}

    def square(params, batch):
        x, y = batch
        return jnp.mean((x @ params["dense"]["kernel"] + params["list"][0] - y[:, None]) ** 2)

    batches = in_memory(DATA, 25)
    run = fit(square, params, batches, optimizer=OPTIMIZER, steps=3, folder=tmp_path / "run")
    nested = load_run(tmp_path / "run").params
    np.testing.assert_array_equal(nested["dense"]["kernel"], run.params["dense"]["kernel"])
    np.testing.assert_array_equal(nested["list"]["0"], run.params["list"][0])
    again = load_run(tmp_path / "run", like=params)
    jax.tree.map(np.testing.assert_array_equal, again.params, run.params)
    with pytest.raises(CheckpointError, match=r"dense/kernel is float32 \[2, 1\], expected no such array"):
        load_run(tmp_path / "run", like={"list": params["list"]})


def test_the_best_of_a_run_is_kept_in_a_file_of_its_own(tmp_path):
    best, file = {"error": np.inf}, tmp_path / "best.safetensors"

    def keep(state, metrics):
        if metrics.get("validation_error", np.inf) < best["error"]:
            best.update(error=metrics["validation_error"], step=int(state.step))
            Run(state.params).save(file)

    error = lambda w: {"error": abs(w[0] - 0.5)}  # noqa: E731 — passed on the way to 2
    run = fit(loss, W, in_memory(DATA, 25), optimizer=OPTIMIZER, steps=60, evaluate=error, hook=keep)
    assert best["step"] in (10, 20)
    assert best["error"] < error(run.params)["error"]
    kept = load_run(file, like=W)
    assert kept.history == ()
    assert error(kept.params)["error"] == best["error"]


@pytest.mark.parametrize("source", ["run", "run/weights.safetensors"], ids=["a folder", "a file"])
def test_a_larger_net_starts_from_what_fits_of_a_smaller(source, tmp_path):
    def square(params, batch):
        x, y = batch
        return jnp.mean((x @ params["w"] + sum(params.get("more", [0.0])) - y) ** 2)

    def trained(params, steps, **options):
        batches = in_memory(DATA, 25)
        return fit(square, params, batches, optimizer=optax.sgd(0.1), steps=steps, **options).params

    small = trained({"w": W}, 20, folder=tmp_path / "run")
    large = {"w": W, "more": [np.float32(7), 8.0]}
    started = trained(large, 0, start_from=tmp_path / source)
    np.testing.assert_array_equal(started["w"], small["w"])
    assert [each.item() for each in started["more"]] == [7, 8]
    with pytest.raises(
        CheckpointError, match=r"has no array that fits .*: it has w \[2\], expected some of v \[3\]"
    ):
        trained({"v": np.zeros(3)}, 1, start_from=tmp_path / source)


def test_names_with_a_slash_are_read_back_as_they_were(tmp_path):
    """As haiku names a module within another."""
    params = {
        "net/~/linear_0": {"w": np.ones(2, np.float32)},
        "net/~/linear_1": {"w": np.ones(1, np.float32)},
    }

    def square(params, batch):
        x, y = batch
        return jnp.mean((x @ params["net/~/linear_0"]["w"] * params["net/~/linear_1"]["w"] - y) ** 2)

    run = fit(square, params, in_memory(DATA, 25), optimizer=OPTIMIZER, steps=3, folder=tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, load_run(tmp_path / "run").params, run.params)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "begun"
    train(folder=folder, settings={"optimizer": "adam", "learning_rate": 0.05})
    return folder


OTHER = {
    "other data of the same shape": (
        {"batches": in_memory((X + 1e-6, DATA[1]), 25)},
        "with another data set: content was",
    ),
    "another batch size": ({"batches": in_memory(DATA, 50)}, "batch size was 25 and is 50 now"),
    "fewer examples": ({"batches": in_memory((X[:200], DATA[1][:200]), 25)}, "was 250 and is 200 now"),
    "drawn data": ({"batches": drawn}, "training examples was 250 and is None"),
    "another seed": ({"seed": 1}, "another configuration: seed was 0 and is 1 now"),
    "another setting": ({"settings": {"optimizer": "sgd"}}, "optimizer was 'adam' and is 'sgd' now"),
    "a setting less": ({"settings": {}}, "optimizer was 'adam' and is None now"),
}


@pytest.mark.parametrize(("options", "words"), OTHER.values(), ids=OTHER)
def test_a_run_is_not_resumed_with_something_else(options, words, begun):
    given = {"settings": {"optimizer": "adam"}, "folder": begun, "resume": True} | options
    with pytest.raises(CheckpointError, match=words):
        train(**given)


def test_a_run_is_not_resumed_to_a_step_before(begun):
    with pytest.raises(ParameterError, match=r"steps is 3, and .*begun is at step \d\d already\. Give more"):
        train(steps=3, folder=begun, resume=True, settings={"optimizer": "adam"})


def test_a_run_is_not_resumed_with_other_parameters(begun):
    with pytest.raises(CheckpointError, match=r"/mu is float32 \[2\], expected float32 \[3\]"):
        fit(
            loss,
            np.zeros(3, np.float32),
            in_memory(DATA, 25),
            optimizer=OPTIMIZER,
            steps=3,
            folder=begun,
            resume=True,
            settings={"optimizer": "adam"},
        )


def test_a_new_learning_rate_is_kept_with_the_run(begun):
    settings = {"optimizer": "adam", "learning_rate": 0.01}
    run = train(steps=30, folder=begun, resume=True, settings=settings)
    assert run.history[-1].step == 30
    assert '"learning_rate": 0.01' in (begun / "config.json").read_text()


def test_a_folder_with_a_file_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "weights.safetensors").write_text("mine")
    with pytest.raises(CheckpointError, match=r"is not empty \(it has weights.safetensors\).*choose"):
        train(folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_folder_that_is_not_there_is_not_made_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere holds no run: there is no such folder"):
        train(folder=tmp_path / "nowhere", resume=True)
    assert not [*tmp_path.iterdir()]


def test_a_run_that_a_full_disk_has_kept_from_beginning_begins_anew(tmp_path, monkeypatch):
    def full(*args):
        raise WriteError("No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("funcnet.train.checkpoint.save", full)
        with pytest.raises(WriteError):
            train(folder=tmp_path)
    assert_equal(train(folder=tmp_path), train())


def test_a_run_is_told_in_a_line():
    run = fit(loss, W, in_memory(DATA, 25), optimizer=OPTIMIZER, steps=3)
    assert re.fullmatch(r"Run\(2 parameters in 1 arrays, Row\(epoch=1, step=3, .*\)\)", repr(run))


def failing(*args):
    raise ZeroDivisionError


def interrupting(*args):
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("resume", [False, True], ids=["anew", "resumed"])
@pytest.mark.parametrize(("hook", "error"), [(failing, ZeroDivisionError), (interrupting, KeyboardInterrupt)])
def test_a_run_that_breaks_before_it_saved_a_step_begins_anew(hook, error, resume, tmp_path):
    with pytest.raises(error):
        train(folder=tmp_path, hook=hook, watch=5)
    assert_equal(train(folder=tmp_path, watch=5, resume=resume), train())


@pytest.mark.parametrize(
    ("loss", "error"),
    [(lambda w, batch: 1 / 0, ZeroDivisionError), (lambda w, batch: jnp.mean(batch[1]), GradientError)],
    ids=["at once", "no gradient"],
)
def test_a_loss_that_fails_at_once_leaves_no_run_in_its_folder(loss, error, tmp_path):
    with pytest.raises(error):
        fit(loss, W, in_memory(DATA, 25), optimizer=OPTIMIZER, steps=3, folder=tmp_path)
    assert not [*tmp_path.iterdir()]
    assert_equal(train(folder=tmp_path), train())


def test_a_run_that_breaks_later_can_be_resumed(tmp_path):
    def fails_at_20(state, metrics):
        if state.step == 20:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(folder=tmp_path, hook=fails_at_20, save_every=0.0)
    assert read(tmp_path / "checkpoint.safetensors")[0]["step"] == 10
    assert_equal(train(folder=tmp_path, resume=True), train())


@pytest.mark.parametrize("grad", [value_and_grad, jax.value_and_grad], ids=["funcnet", "jax"])
@pytest.mark.parametrize(
    "loss",
    [
        lambda w, batch: jnp.mean((batch[0] @ w > 0) == (batch[1] > 0)),
        lambda w, batch: jnp.mean((batch[0] @ jax.lax.stop_gradient(w) - batch[1]) ** 2),
        lambda w, batch: jnp.mean(batch[1]),
        lambda w, batch: 3.0,
    ],
    ids=["comparison", "stop_gradient", "data", "constant"],
)
def test_a_loss_that_does_not_depend_on_the_parameters(loss, grad):
    """Where the optimizer moves them nevertheless, too; a slope that is 0 here and now is none of it."""
    for watch in (0, 1):
        with pytest.raises(GradientError, match="does not depend on the parameters: all gradients are 0"):
            fit(loss, W, in_memory(DATA, 25), optimizer=optax.adamw(0.1), steps=3, grad=grad, watch=watch)
    still = fit(
        lambda w, batch: jnp.sum(w * w), W, in_memory(DATA, 25), optimizer=OPTIMIZER, steps=3, grad=grad
    )
    np.testing.assert_array_equal(still.params, W)


def test_a_folder_has_one_process_at_a_time(tmp_path):
    """Held by another thread here, and refused to a process of its own; killed, nobody holds it."""
    inside, over = threading.Event(), threading.Event()

    def hold(state, metrics):
        inside.set()
        over.wait(60)

    folder = tmp_path / "run"
    thread = threading.Thread(target=train, kwargs={"folder": folder, "hook": hold})
    thread.start()
    inside.wait(60)
    try:
        with pytest.raises(CheckpointError, match=rf"in use: process {os.getpid()} trains there\. Wait"):
            train(folder=folder, resume=True)
    finally:
        over.set()
        thread.join()
    assert "lock" not in os.listdir(folder)
    (folder / "lock").write_text("12345")  # what a killed process leaves
    assert_equal(train(folder=folder, resume=True), train())


PROGRAM = """
import sys
from funcnet.train import folder
with folder.opened(folder.Path(sys.argv[1]), {}, {}):
    print("inside", flush=True)
    sys.stdin.read()
"""


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def unlocked(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", unlocked)
    with pytest.raises(CheckpointError, match="cannot be locked, take another: No locks available"):
        train(folder=tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_holds_no_folder(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "inside\n"
        with pytest.raises(CheckpointError, match=f"process {process.pid} trains there"):
            train(folder=tmp_path / "run")
        process.send_signal(signal.SIGKILL)
        process.wait()
    train(folder=tmp_path / "run")


def test_sharded_parameters_stay_where_they_are(tmp_path):
    """On a mesh of one device here; that the loop does not gather them is what counts."""
    mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("model"))
    begun = jax.device_put(W, sharding)
    for resume in (False, True):
        run = fit(
            loss,
            begun,
            in_memory(DATA, 25),
            optimizer=OPTIMIZER,
            steps=13 + 10 * resume,
            folder=tmp_path / "run",
            resume=resume,
        )
        assert run.params.sharding.is_equivalent_to(sharding, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"watch": -1}, "watch is -1; expected 0 or more, a whole number"),
        ({"steps": 1e2}, "steps is 100.0; expected 0 or more, a whole number"),
        ({"seed": 1.5}, "seed is 1.5; expected 0 or more, a whole number"),
        ({"hook": 3}, "hook is 3; expected a function"),
        ({"steps": True}, "steps is True; expected 0 or more, a whole number"),
        ({"watch": True}, "watch is True; expected 0 or more, a whole number"),
        ({"seed": jax.random.key(0)}, r"seed is key<fry>\[\]; expected 0 or more, a whole number"),
        ({"hook": [print]}, "hook is a list; expected a function of state and metrics"),
        ({"hook": lambda state: None}, r"hook is a function \(<lambda>\); expected .*hook\(state, metrics\)"),
        ({"hook": lambda a, b, c: None}, "hook is a function .*; expected a function of state and metrics"),
        ({"evaluate": lambda a, b: {}}, "evaluate is a function .*; expected a function of the parameters"),
        ({"grad": "jax"}, "grad is 'jax'; expected what makes value and gradients of a loss, as jax"),
        ({"grad": jax.grad}, r"grad is a function \(grad\); expected what makes value and gradients"),
        (
            {"grad": jax.value_and_grad(loss)},
            r"grad is a function \(loss\); .*, as jax.value_and_grad itself",
        ),
        ({"folder": ""}, "folder is ''; expected the name of one"),
        ({"folder": 3}, "folder is 3; expected the name of one"),
        ({"resume": "run"}, "resume is 'run'; expected True or False; the run's folder is given as folder"),
        ({"save_every": "5"}, "save_every is '5'; expected 0 or more seconds, a number"),
        ({"save_every": -1}, "save_every is -1; expected 0 or more seconds"),
        ({"save_every": np.nan}, "save_every is nan; expected 0 or more seconds"),
        ({"settings": {"size": np.ones(2)}}, "settings is a dict; expected what JSON can hold"),
        ({"evaluate": lambda w: w}, r"evaluate returned float32\[2\]; expected scalars by name"),
        (
            {"evaluate": lambda w: {"w": w}},
            r"evaluate returned {'w': 'float32\[2\]'}; expected scalars by name",
        ),
        (
            {"evaluate": lambda w: {"w": "high"}},
            "evaluate returned {'w': .*high.*}; expected scalars by name",
        ),
        ({"evaluate": lambda w: "high"}, "evaluate returned 'high'; expected scalars by name"),
        ({"resume": True}, "resume is True without a folder"),
        ({"steps": -1}, "steps is -1; expected 0 or more"),
        ({"batches": SimpleNamespace()}, "batches are of type SimpleNamespace; expected in_memory"),
    ],
)
def test_refused(options, words, no_shape_checks):
    with pytest.raises(ParameterError, match=words):
        train(**options)


def test_no_steps_give_the_parameters_back():
    run = train(steps=0)
    np.testing.assert_array_equal(run.params, W)
    assert run.history == ()


GUIDE = (Path(__file__).parents[2] / "funcnet/docs/training.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```py\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("recipe", RECIPES, ids=["early stopping", "best", "tensorboard", "wandb"])
def test_the_hooks_of_readme_work(recipe, monkeypatch, tmp_path):
    """With stand-ins for what they log to; the early stopping ends a run that does not get better."""
    monkeypatch.chdir(tmp_path)
    seen = []
    writer = SimpleNamespace(add_scalar=lambda name, value, step: seen.append((step, name, value)))
    run = SimpleNamespace(log=lambda values, step: seen.extend((step, *item) for item in values.items()))
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=lambda folder: writer))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda project: run))
    names: dict = {}
    exec(recipe, names)
    (hook,) = (value for value in names.values() if hasattr(value, "__code__"))
    trained = train(steps=200, hook=hook, evaluate=lambda w: {"loss": jnp.float32(1)}, watch=50)
    if hook.__name__ == "early_stopping":
        assert trained.history[-1].step == 60
    elif hook.__name__ == "keep_the_best":
        assert names["best"] == {"loss": 1}
        assert not (load_run("best.safetensors", like=W).params == trained.params).any()  # of the first epoch
    else:
        assert [step for step, name, _ in seen if name == "loss"] == [*range(10, 201, 10)]
        assert {name for _, name, _ in seen} == {"loss", "norm", "w", "by/x", "validation_loss"}


def test_a_watched_run_is_the_same_run_and_is_drawn(tmp_path):
    """The norm of the only parameter's gradient is that of `jax.grad`'s; every tenth step has more."""
    chunks = []
    folder = tmp_path / "run"
    run = train(watch=10, folder=folder, hook=lambda state, metrics: chunks.append(metrics["watched"]))
    plain = train()
    np.testing.assert_allclose(run.params, plain.params, rtol=1e-5)
    assert [vars(row).keys() for row in run.history] == [vars(row).keys() for row in plain.history]
    (measured,) = (chunk.parameters for chunk in chunks[:1])
    ((_, sizes),) = measured.items()
    state = init(W, OPTIMIZER)
    batches = in_memory(DATA, 25)
    key = jax.random.fold_in(step_key(0), 0)
    gradient = jax.grad(loss, has_aux=True)(state.params, batches(0), key)[0]
    np.testing.assert_allclose(sizes.norm[0], np.linalg.norm(gradient), rtol=1e-5)
    assert np.isfinite(sizes.maximum).tolist() == [True] + 9 * [False]
    assert (folder / "watch.png").read_bytes().startswith(b"\x89PNG")
    header, *rows = csv.reader((folder / "watch.csv").read_text().splitlines())
    kinds = ("parameter", "activation", "gradient")
    measures = ("norm", "maximum", "zeros")
    assert header == ["step", *(f"{kind}/params/{what}" for kind in kinds for what in measures)]
    assert [int(row[0]) for row in rows] == [*range(25)]
    norms = np.concatenate([chunk.parameters["params"].norm for chunk in chunks])
    np.testing.assert_allclose([float(row[1]) for row in rows], norms, rtol=1e-5)
    assert [int(row[0]) for row in rows if row[2]] == [0, 10, 20]


def test_a_watched_run_in_parts_has_the_rows_of_one_in_one(tmp_path):
    """Stopped in the middle of an epoch; then killed when it had written rows, and no checkpoint yet."""
    train(watch=10, steps=40, folder=tmp_path / "whole")
    train(watch=10, steps=13, folder=tmp_path / "parts")
    checkpoint = (tmp_path / "parts/checkpoint.safetensors").read_bytes()
    train(watch=10, steps=23, folder=tmp_path / "parts", resume=True)
    (tmp_path / "parts/checkpoint.safetensors").write_bytes(checkpoint)
    train(watch=10, steps=40, folder=tmp_path / "parts", resume=True)
    rows = [(tmp_path / name / "watch.csv").read_text() for name in ("whole", "parts")]
    assert rows[0] == rows[1]


def test_what_was_watched_of_a_run_that_breaks_is_kept(tmp_path):
    """The rows go on to the step that was not taken, whose gradient is no number."""
    x, y = DATA
    bad = in_memory((np.where(np.arange(250)[:, None] == 77, np.inf, x), y), 25)
    with pytest.raises(NonFiniteError) as caught:
        train(bad, watch=5, folder=tmp_path / "run")
    *good, last = (tmp_path / "run/watch.csv").read_text().splitlines()[1:]
    assert f"at step {len(good)} " in str(caught.value)
    assert last.split(",")[:2] == [str(len(good)), "nan"]
    assert (tmp_path / "run/watch.png").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("step,other/norm\n0,1.0\n", "has other columns than what is watched now, as other/norm beside"),
        ("", "is damaged.*Move it away"),
        ("step,parameter//norm\nzero,1\n", "is damaged.*Move it away"),
    ],
)
def test_rows_of_something_else_are_left_alone(text, words, tmp_path):
    train(steps=5, folder=tmp_path / "run")
    (tmp_path / "run/watch.csv").write_text(text)
    with pytest.raises(CheckpointError, match=words):
        train(watch=1, steps=10, folder=tmp_path / "run", resume=True)
    assert (tmp_path / "run/watch.csv").read_text() == text


ON_FOUR_DEVICES = """
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from funcnet.train import fit, from_source, in_memory

rng = np.random.default_rng(3)
x = rng.standard_normal((256, 8), np.float32)
data = x, np.tanh(x @ rng.standard_normal((8, 4), np.float32))
params = {"in": np.eye(8, 16, dtype=np.float32), "out": np.eye(16, 4, dtype=np.float32)}

def loss(params, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["in"]) @ params["out"] - y) ** 2)

def trained(params, batches, **options):
    return fit(loss, params, batches, optimizer=optax.adam(0.05), steps=20, **options).params

alone = trained(params, in_memory(data, 32))
for kind in AxisType.Auto, AxisType.Explicit:
    mesh = jax.make_mesh((4,), ("devices",), axis_types=(kind,))
    on = lambda tree, *axes: jax.device_put(tree, NamedSharding(mesh, P(*axes)))
    rows = on(data, "devices")
    split = {"in": on(params["in"], None, "devices"), "out": on(params["out"], "devices", None)}
    cases = [(on(params), in_memory(rows, 32)), (on(params), from_source(data, 32))]
    options = {"grad": jax.value_and_grad}
    if kind is AxisType.Auto:  # of the other kind of axes a loss says itself how its products are split
        options = {}
        cases += [(split, in_memory(data, 32)), (split, in_memory(rows, 32)), (params, in_memory(rows, 32))]
    for begun, batches in cases:
        ended = trained(begun, batches, **options)
        for name, leaf in ended.items():
            if begun is not params:
                assert leaf.sharding.is_equivalent_to(begun[name].sharding, 2)
            np.testing.assert_allclose(leaf, alone[name], rtol=1e-5, atol=1e-6)
    assert in_memory(rows, 32)(0)[0].shape == (32, 8)
print(jax.device_count())
"""


def test_four_devices_train_to_the_same_numbers():
    """Data spread over them, parameters spread over them, and both; explicit axes with JAX's gradients."""
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", ON_FOUR_DEVICES],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "4\n", done.stderr

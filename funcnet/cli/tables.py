"""What the commands print of nets, in columns."""

from typing import TYPE_CHECKING, Any

from funcnet.train import Config

if TYPE_CHECKING:
    import numpy as np

    from funcnet.data import Dataset


def net(config: Config, dataset: "Dataset") -> str:
    """The net layer by layer: shapes, activation, number of parameters.

    An N-layer net has N weight matrices (CS231n 2019, lecture 4, slide 23).

    >>> from funcnet.data import load
    >>> print(net(Config(hidden=(5,)), load("spiral")))
    2-layer net for spiral
    layer   weights  biases  activation  parameters
    layer1    2 × 5       5        relu          15
    layer2    5 × 3       3                      18
    total                                        33
    """
    import jax

    from funcnet.train.models.net import initial, precision
    from funcnet.train.models.nets import STATISTICS, example_shape, layers, title

    shape = example_shape(config, dataset.train.x.shape[1], dataset.image_shape)
    with precision(config):
        params = jax.eval_shape(lambda: initial(config, shape, len(dataset.classes), jax.random.key(0)))
    params = {name: layer for name, layer in params.items() if name != STATISTICS}
    rows = [("layer", "weights", "biases", "activation", "parameters")]
    *_, last = names = layers(params)
    for name in names:
        layer = params[name]
        weights, biases = (" × ".join(map(str, layer[each].shape)) if each in layer else "" for each in "wb")
        if "edges" in layer:
            weights = f"{len(layer) - 1} nodes, {len(layer['edges'])} edges"
        activation = config.activation if name != last and biases else ""
        rows.append((name, weights, biases, activation, f"{size(layer):,}"))
    rows.append(("total", "", "", "", f"{size(params):,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        name.ljust(widths[0]) + "".join(map("  {:>{}}".format, cells, widths[1:])) for name, *cells in rows
    )
    return "\n".join([f"{title(config)} for {dataset.name}", *lines])


def print_errors(errors: dict[str, dict[str, float]]) -> None:
    """A line for each kind of sequence: what one costs, and how many of its bits are wrong."""
    for name, error in errors.items():
        print(f"{name:16} {error['loss']:9.4f} bits a sequence, {error['wrong_bits']:.2f} wrong")


def confusion(classes: tuple[str, ...], table: "np.ndarray") -> str:
    """A line for each class with its numbers, under the names of the classes."""
    rows = [("", *classes), *zip(classes, *(map(str, column) for column in table.T), strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)


def size(params: Any) -> int:
    import jax

    return sum(leaf.size for leaf in jax.tree.leaves(params))

"""The nets that a `Config` can name, as one kind of function: from examples to class scores.

An entry of NETS makes initial parameters and computes scores. What is not trained but follows the data, as a
batch normalization's running statistics, is an entry "statistics" of the parameters, and comes back anew from
each step (`funcnet.train.loss`).
"""

from collections.abc import Callable, Mapping
from string import digits
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from funcnet import nn
from funcnet._errors import ParameterError
from funcnet._types import Params
from funcnet.train.models.config import Config

Shape = tuple[int, ...]

STATISTICS = "statistics"
"""The entry of the parameters that is kept, not trained."""

ALEXNET_SIDE = 227
STAGES = 3


class Architecture(NamedTuple):
    """A net.

    Attributes:
        init: its parameters, of (config, shape of an example, number of classes, key).
        scores: scores and what is kept, of (config, parameters, examples, key); without a key the net is as
            after training: nothing is dropped, and nothing kept.
    """

    init: Callable[[Config, Shape, int, Key[Array, ""]], Params]
    scores: Callable[[Config, Params, Array, Key[Array, ""] | None], tuple[Array, Mapping[str, Any]]]


def example_shape(config: Config, features: int, image_shape: Shape | None) -> Shape:
    """What an example is to the net: [features], or [height, width, channels].

    Raises:
        ParameterError: the net takes images, and there are none.

    >>> example_shape(Config(net="convnet"), 64, (8, 8))
    (8, 8, 1)
    """
    if config.net == "mlp":
        return (features,)
    if image_shape is None:
        raise ParameterError(
            f"net is {config.net!r}, and the examples of {config.data} are {features} numbers each; expected "
            f"images. Take net 'mlp', or a data set of images."
        )
    return image_shape if len(image_shape) == 3 else (*image_shape, 1)


def wirings(config: Config) -> list[nn.Wiring]:
    """The random graph of each stage of a randomly wired net; the seed decides them.

    Raises:
        ParameterError: parameters outside their domain.

    >>> [len(graph.edges) for graph in wirings(Config(net="randwired"))]
    [64, 64, 64]
    """
    family, nodes, *numbers = config.wiring.split(":")
    try:
        parameters = [float(number) if "." in number else int(number) for number in numbers]
    except ValueError as error:
        raise ParameterError(f"wiring is {config.wiring!r}: {error}; expected numbers") from error
    seeds = range(STAGES * config.seed, STAGES * (config.seed + 1))
    return [nn.random_graph(family, int(nodes), *parameters, seed=seed) for seed in seeds]


def _init_mlp(config: Config, shape: Shape, classes: int, key: Array) -> Params:
    pieces = 2 if config.activation == "maxout" else None
    return nn.init_mlp(
        key, (*shape, *config.hidden, classes), init=config.init, pieces=pieces, dtype=_kept(config)
    )


def _mlp(config: Config, params: Params, x: Array, key: Array | None) -> tuple[Array, dict]:
    return nn.mlp(params, x, activation=nn.ACTIVATIONS[config.activation]), {}


def _init_convnet(config: Config, shape: Any, classes: int, key: Array) -> Params:
    (hidden,) = config.hidden
    return nn.init_convnet(
        key, shape, classes, channels=config.channels, hidden=hidden, init=config.init, dtype=_kept(config)
    )


def _convnet(config: Config, params: Params, x: Array, key: Array | None) -> tuple[Array, dict]:
    return nn.convnet(params, x, key=key), {}


def _init_alexnet(config: Config, shape: Shape, classes: int, key: Array) -> Params:
    (hidden,) = config.hidden
    return nn.init_alexnet(key, classes=classes, hidden=hidden, dtype=_kept(config))


def _alexnet(config: Config, params: Params, x: Array, key: Array | None) -> tuple[Array, dict]:
    """Images of another size are enlarged or reduced to 227×227; grey is all three colours."""
    size = (len(x), ALEXNET_SIDE, ALEXNET_SIDE)
    x = jax.image.resize(x, (*size, x.shape[-1]), "linear") if x.shape[:3] != size else x
    return nn.alexnet(params, jnp.broadcast_to(x, (*size, 3)), key=key), {}


def _init_randwired(config: Config, shape: Shape, classes: int, key: Array) -> Params:
    (head,) = config.hidden
    params, statistics = nn.init_randwired(
        key, wirings(config), classes, inputs=shape[-1], channels=config.channels[0], head=head
    )
    return jax.tree.map(lambda p: p.astype(_kept(config)), {**params, STATISTICS: statistics})


def _randwired(config: Config, params: Params, x: Array, key: Array | None) -> tuple[Array, dict]:
    scores, statistics = nn.randwired(
        params, params[STATISTICS], x, graphs=wirings(config), training=key is not None
    )
    return scores, {} if key is None else {STATISTICS: statistics}


def _kept(config: Config) -> Any:
    """What parameters are kept in."""
    return jnp.promote_types(config.dtype, jnp.float32)


NETS = {
    "mlp": Architecture(_init_mlp, _mlp),
    "convnet": Architecture(_init_convnet, _convnet),
    "alexnet": Architecture(_init_alexnet, _alexnet),
    "randwired": Architecture(_init_randwired, _randwired),
}
"""The nets by name."""

_ORDER = "conv", "stage", "layer", "fc", "head", "scores"


def layers(params: Mapping[str, Any]) -> list[str]:
    """The names of the layers in the order of the forward pass.

    >>> layers(dict.fromkeys(["head", "stage2", "stage1", "conv1", "scores"]))
    ['conv1', 'stage1', 'stage2', 'head', 'scores']
    """

    def place(name: str) -> tuple[int, int]:
        kind = name.rstrip(digits)
        return _ORDER.index(kind), int(name.removeprefix(kind) or 0)

    return sorted(params, key=place)


def title(config: Config) -> str:
    """What a net is called.

    >>> title(Config(hidden=(100,)))
    '2-layer net'
    """
    return f"{len(config.hidden) + 1}-layer net" if config.net == "mlp" else config.net

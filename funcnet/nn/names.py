"""What can be chosen by name: in a configuration, on the command line, in a sweep."""

from collections.abc import Callable

from funcnet.nn._labels import of_labels
from funcnet.nn.activations import elu, gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from funcnet.nn.affine import maxout
from funcnet.nn.losses import logistic_loss, mse_loss, softmax_loss, svm_loss
from funcnet.nn.regularizers import elastic_net, l1, l2

ACTIVATIONS: dict[str, Callable | None] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "elu": elu,
    "maxout": maxout,
    "softplus": softplus,
    "silu": silu,
    "gelu": gelu,
    "none": None,
}


LOSSES: dict[str, Callable] = {
    "softmax": softmax_loss,
    "svm": svm_loss,
    "mse": of_labels("mse_loss", mse_loss),
    "logistic": of_labels(
        "logistic_loss", lambda scores, targets: logistic_loss(scores, targets).sum(axis=-1)
    ),
}
"""Classification losses `(scores [*batch, classes], labels [*batch]) -> [*batch]`. The last two see
each class as a number to predict, 1 for the right one and 0 for the others."""

REGULARIZERS: dict[str, Callable] = {"l2": l2, "l1": l1, "elastic_net": elastic_net}

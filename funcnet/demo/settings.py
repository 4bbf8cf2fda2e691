"""What can be chosen on the page, within what bounds, and where it begins.

The net of the lecture's demo (CS231n 2019, lecture 4, slide 27): two inputs, six and two tanh units, softmax.
The same names stand in the address of the page, so that a link says which net it shows.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from funcnet import nn
from funcnet.demo.bounds import Choice, Fields, Real, Several, Whole
from funcnet.demo.plane import INPUTS, SETS, own_classes

MOST_LAYERS, MOST_UNITS, MOST_CLASSES = 6, 20, 5

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout", "none")
"""Those of the lecture, slides 21 and 22."""

OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam")
BATCHES = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Settings:
    """A net, its data and how it learns; see BOUNDS for what each may be.

    Attributes:
        data: a set of `plane.SETS`.
        noise: how far the points are moved at random, in hundredths of two units of the plane.
        test: how many in a hundred points are kept from training.
        classes: how many the net tells apart; a set may have more of its own.
        inputs: which functions of the point the net is given.
        hidden: units of each hidden layer.
        activation: of the hidden units.
        loss: of an example.
        penalty: R(w), the regularizer.
        strength: λ.
        optimizer: the update rule.
        rate: the step size.
        batch: examples of a step, drawn with replacement.
        seed: decides data, split, initial weights and batches.
    """

    data: str = "circle"
    noise: int = 0
    test: int = 30
    classes: int = 2
    inputs: tuple[str, ...] = ("x", "y")
    hidden: tuple[int, ...] = (6, 2)
    activation: str = "tanh"
    loss: str = "softmax"
    penalty: str = "l2"
    strength: float = 0.001
    optimizer: str = "momentum"
    rate: float = 0.01
    batch: int = 10
    seed: int = 0

    @property
    def outputs(self) -> int:
        """How many scores the net has: one for each class."""
        return max(self.classes, own_classes(self.data))

    @property
    def recipe(self) -> "Recipe":
        """What its programs are compiled for."""
        return Recipe(*(getattr(self, name) for name in Recipe._fields))

    @property
    def start(self) -> tuple:
        """What a training run begins from; another choice of the rest goes on with the weights."""
        drawn = self.data, self.noise, self.test, self.seed
        return (*drawn, self.inputs, self.hidden, self.outputs, self.activation)


class Recipe(NamedTuple):
    """The settings that a program is compiled for; the others are its arguments."""

    inputs: tuple[str, ...]
    hidden: tuple[int, ...]
    outputs: int
    activation: str
    loss: str
    penalty: str
    optimizer: str
    batch: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, units of each layer, scores."""
        return (len(self.inputs), *self.hidden, self.outputs)


BOUNDS = {
    "data": Choice((*SETS,)),
    "noise": Whole(0, 50),
    "test": Whole(0, 90),
    "classes": Whole(2, MOST_CLASSES),
    "inputs": Several(Choice((*INPUTS,)), most=len(INPUTS), least=1),
    "hidden": Several(Whole(1, MOST_UNITS), most=MOST_LAYERS),
    "activation": Choice(ACTIVATIONS),
    "loss": Choice(("softmax", "svm")),
    "penalty": Choice((*nn.REGULARIZERS,)),
    "strength": Real(0, 10),
    "optimizer": Choice(OPTIMIZERS),
    "rate": Real(0, 100),
    "batch": Whole(1, 100),
    "seed": Whole(0, 2**31 - 1),
}
"""What each setting may be."""

FIELDS = Fields(BOUNDS, asdict(Settings()))


def settings(name: str, value: Any) -> Settings:
    """Settings from an object of JSON; what it leaves out is as in the lecture's demo.

    Raises:
        ParameterError: it is none, or a field is unknown or out of bounds.

    >>> settings("settings", {"hidden": [3]}).hidden
    (3,)
    >>> settings("settings", {"rate": float("nan")})
    Traceback (most recent call last):
    funcnet._errors.ParameterError: rate is nan; expected a number from 0 to 100
    """
    found = FIELDS(name, value)
    found["inputs"] = tuple(name for name in INPUTS if name in found["inputs"])
    return Settings(**found)

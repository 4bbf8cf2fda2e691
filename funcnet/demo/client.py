"""One page and its nets: each of its questions has one answer. The server has a client for each page."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from funcnet import nn
from funcnet._errors import FuncnetError
from funcnet.demo import questions
from funcnet.demo.messages import MOST_STEPS, Question, answer, read
from funcnet.demo.picture import FIELD, GRID, SMALL
from funcnet.demo.plane import CAPACITY, EXTENT, INPUTS, SETS
from funcnet.demo.session import Session, started
from funcnet.demo.settings import (
    ACTIVATIONS,
    BATCHES,
    MOST_CLASSES,
    MOST_LAYERS,
    MOST_UNITS,
    OPTIMIZERS,
    Settings,
)


class Client:
    """The nets of one page.

    >>> page = Client()
    >>> b"expected one of hello" in page.answer('{"kind": "exec"}')
    True
    """

    def __init__(self) -> None:
        self.nets: dict[int, Session] = {}

    def answer(self, text: str | bytes) -> bytes:
        """The answer to a question; to one that is out of bounds, what is wrong with it."""
        try:
            question = read(text)
        except FuncnetError as error:
            return answer("error", 0, {"text": str(error)}, {})
        try:
            return getattr(self, f"_{question.kind}")(question)
        except FuncnetError as error:
            return answer("error", question.net, {"text": str(error)}, {})

    def _hello(self, question: Question) -> bytes:
        return answer("hello", question.net, welcome(), {})

    def _settings(self, question: Question) -> bytes:
        settings = question.fields["settings"]
        session = self.nets.get(question.net)
        self.nets[question.net] = session.with_settings(settings) if session else started(settings)
        return self._seen(question, points=True)

    def _points(self, question: Question) -> bytes:
        return self._act(question, lambda net: net.with_points(question.fields["points"]), points=True)

    def _run(self, question: Question) -> bytes:
        return self._act(question, lambda net: net.ran(question.fields["steps"]))

    def _back(self, question: Question) -> bytes:
        return self._act(question, Session.back)

    def _restart(self, question: Question) -> bytes:
        return self._act(question, Session.restarted)

    def _close(self, question: Question) -> bytes:
        self.nets.pop(question.net, None)
        return answer("close", question.net, {}, {})

    def _check(self, question: Question) -> bytes:
        return answer("check", question.net, questions.check(self._net(question)), {})

    def _landscape(self, question: Question) -> bytes:
        return answer("landscape", question.net, *questions.landscape(self._net(question)))

    def _net(self, question: Question) -> Session:
        """The net that is asked about; one that nobody has chosen yet is that of the lecture's demo."""
        if question.net not in self.nets:
            self.nets[question.net] = started(Settings())
        return self.nets[question.net]

    def _act(self, question: Question, act: Callable[[Session], Session], points: bool = False) -> bytes:
        self.nets[question.net] = act(self._net(question))
        return self._seen(question, points)

    def _seen(self, question: Question, points: bool = False) -> bytes:
        """The picture of a net, with its points where they may have changed."""
        net = self.nets[question.net]
        arrays = net.picture(question.view)
        metrics = dict(zip(METRICS, arrays.pop("metrics").tolist(), strict=True))
        header = {
            "step": net.step,
            "metrics": metrics,
            "norms": arrays.pop("norms").tolist(),
            "sizes": [len(net.settings.inputs), *net.settings.hidden, net.settings.outputs],
            "activation": net.settings.activation,
            "count": net.points.filled,
            "example": min(question.view.example, net.points.filled - 1),
        }
        if points:
            header["points"] = rows(net)
            header["settings"] = asdict(net.settings)
        return answer("frame", question.net, header, arrays)


METRICS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "penalty")


def rows(net: Session) -> list[list[float]]:
    """The points as the page sends them back: x, y, class, whether it is trained on."""
    x, y, train, filled = net.points
    places = x.astype(float).round(3).tolist()
    return [[*places[i], int(y[i]), int(train[i])] for i in range(filled)]


def welcome() -> dict[str, Any]:
    """What the page offers: names, bounds, and the formulas of the gates."""
    gates: dict[str, Any] = {name: nn.ACTIVATIONS[name] for name in ACTIVATIONS if name != "none"}
    gates |= {"affine": nn.affine, **{name: nn.LOSSES[name] for name in ("softmax", "svm")}}
    return {
        "defaults": asdict(Settings()),
        "choices": {
            "data": [*SETS],
            "inputs": [*INPUTS],
            "activation": [*ACTIVATIONS],
            "loss": ["softmax", "svm"],
            "penalty": [*nn.REGULARIZERS],
            "optimizer": [*OPTIMIZERS],
            "batch": [*BATCHES],
        },
        "most": {"layers": MOST_LAYERS, "units": MOST_UNITS, "classes": MOST_CLASSES, "points": CAPACITY},
        "steps": MOST_STEPS,
        "extent": EXTENT,
        "sides": {"field": FIELD, "grid": GRID, "small": SMALL},
        "formulas": {name: {"formula": gate.formula, "source": gate.source} for name, gate in gates.items()},
    }

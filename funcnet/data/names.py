"""What the labels of published image sets stand for, by the name of the file or folder that holds them.

    MNIST, QMNIST   the digits
    Fashion-MNIST   H. Xiao, K. Rasul, R. Vollgraf 2017, https://github.com/zalandoresearch/fashion-mnist
    KMNIST          T. Clanuwat et al., "Deep learning for classical Japanese literature", 2018: ten hiragana
    CIFAR-10        A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009
    EMNIST          G. Cohen et al., "EMNIST: extending MNIST to handwritten letters", 2017

EMNIST has six splits. `byclass` has 62 digits and letters; `bymerge` and `balanced` have 47, since fifteen
letters look alike in upper and lower case; the labels of `letters` run from 1 to 26. Its images lie on their
side in the files, rows for columns (https://www.tensorflow.org/datasets/catalog/emnist).
"""

import re
from collections.abc import Iterable
from string import ascii_lowercase, ascii_uppercase, digits

Names = dict[int, str]
"""The name of the class that each label stands for."""


def _from_0(names: Iterable[str]) -> Names:
    return dict(enumerate(names))


DIGITS = _from_0(digits)
FASHION = _from_0(
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
)
KMNIST = _from_0(["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"])
CIFAR10 = _from_0(
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
)  # fmt: skip
_MERGED = _from_0(digits + ascii_uppercase + "abdefghnqrt")
EMNIST = {
    "byclass": _from_0(digits + ascii_uppercase + ascii_lowercase),
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": dict(enumerate(ascii_uppercase, start=1)),
    "digits": DIGITS,
    "mnist": DIGITS,
}


def known_names(name: str) -> Names | None:
    """The names that a published set of this name has; None if it is none of those above.

    >>> known_names("FashionMNIST")[9], known_names("emnist-letters-")[1], known_names("photographs")
    ('Ankle boot', 'A', None)
    """
    name = name.lower()
    if split := re.search(f"emnist-({'|'.join(EMNIST)})", name):
        return EMNIST[split[1]]
    if "fashion" in name:
        return FASHION
    return KMNIST if "kmnist" in name or "kuzushiji" in name else None


def lies_on_its_side(name: str) -> bool:
    """Whether rows and columns of the images of a set of this name are exchanged."""
    return "emnist" in name.lower()

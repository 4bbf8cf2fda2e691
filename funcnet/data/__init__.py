"""Data sets behind one specification string: `load("digits")`, `load("idx:DIR")`, `load("spiral")`.

    load         a specification becomes a Dataset: training, validation and test part
    standardize  zero mean and unit variance, fitted on the training part alone
    read_idx     one array out of an MNIST-style file
    toy          the two-dimensional sets, one function each
    procedural   sequences to be remembered, each made from a key: copy, repeat copy, associative recall
    features     polar coordinates; histograms of colours and of edge directions

Whatever is wrong with a file is a `DataError` that says what to do.
"""

from funcnet.data import features, procedural, toy
from funcnet.data.dataset import Dataset, Split, Standardization, standardize
from funcnet.data.idx import read_idx
from funcnet.data.load import load

__all__ = [
    "Dataset",
    "Split",
    "Standardization",
    "features",
    "load",
    "procedural",
    "read_idx",
    "standardize",
    "toy",
]

"""Examples without labels, for a trained net to classify: arrays, tables and images in files.

    .npy              one array
    .npz              the array x
    .csv              one example a line, its numbers separated by commas; see `tables`
    .png .jpg .jpeg   one image, in grey or colour as the net has learned

Units are those of the data set; bytes, which are pixels, are brought to [0, 1] as in `load`. Of a file whose
header announces another shape than the net takes, no more is read.
"""

import warnings
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from funcnet._errors import DataError
from funcnet.data.arrays import Accept, array_names, read_member, read_npy
from funcnet.data.reading import reading
from funcnet.data.tables import read_table


def read_inputs(
    path: Path, features: int, image_shape: tuple[int, ...] | None = None
) -> Float32[np.ndarray, "examples features"]:
    r"""The examples in a file, one a row.

    Args:
        path: the file; how it is read goes by its suffix.
        features: the length of a row.
        image_shape: (height, width) or (height, width, 3) where an example is an image.

    Raises:
        DataError: there is no such file, it cannot be read, or its examples have another shape.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".csv") as file:
    ...     _ = file.write(b"1,2\n3,4\n")
    ...     file.flush()
    ...     read_inputs(Path(file.name), features=2).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    shapes = [(features,)] if image_shape is None else [image_shape, (features,)]

    def accept(shape: tuple[int, ...]) -> None:
        if 0 in shape or not {shape, shape[1:]} & {*shapes}:
            raise DataError(
                f"{path}: its values have shape {list(shape)}; the net was trained on examples of shape "
                f"{' or '.join(str(list(shape)) for shape in shapes)}. Give one of them, or several."
            )

    x = _read(path, features, len(image_shape or ()) == 3, accept)
    if x.dtype.kind not in "buif":
        raise DataError(f"{path}: its values are of type {x.dtype}; expected numbers. Convert them.")
    rows = x.reshape(-1, features)
    with np.errstate(over="ignore"):  # 1e39 is infinite in float32, and refused below
        rows = np.divide(rows, 255, dtype=np.float32) if rows.dtype == np.uint8 else rows.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise DataError(
            f"{path}: NaN or infinite values, the first in example {bad[0]}. Remove or repair them."
        )
    return rows


def _read(path: Path, features: int, color: bool, accept: Accept) -> np.ndarray:
    """The file's numbers in the shape that they have there, which has been accepted."""
    match path.suffix.lower():
        case ".npy":
            with reading(path, "an .npy file", "Write it with np.save.") as file:
                return read_npy(file, accept)
        case ".npz":
            return _read_npz(path, accept)
        case ".csv":
            x, _ = read_table(path, features)
            accept(x.shape)
            return x
        case ".png" | ".jpg" | ".jpeg":
            return _read_image(path, color, accept)
    raise DataError(f"{path}: a file of another kind; expected .npy, .npz, .csv, .png or .jpg. Convert it.")


def _read_npz(path: Path, accept: Accept) -> np.ndarray:
    with reading(path, "an .npz file", "Write it with np.savez.") as file, zipfile.ZipFile(file) as archive:
        if "x" not in array_names(archive):
            raise DataError(
                f"{path}: holds the arrays {', '.join(array_names(archive))}; expected x. Rename it."
            )
        return read_member(archive, "x", accept)


def _read_image(path: Path, color: bool, accept: Accept) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    with reading(path, "a PNG or JPEG image", "Write it again.") as file, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(file, formats=["PNG", "JPEG"])
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError(str(error)) from error
        except UnidentifiedImageError as error:
            raise ValueError("it is none") from error
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"its pixels are of mode {image.mode}, wider than the 8 bits expected")
        shape = (image.height, image.width, 3) if color else (image.height, image.width)
        accept(shape)
        return np.asarray(image.convert("RGB" if color else "L"))

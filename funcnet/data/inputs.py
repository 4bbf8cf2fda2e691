"""Examples without labels, for a trained net to classify: arrays, tables and images in files.

    .npy              one array
    .npz              the array x
    .csv              one example a line, its numbers separated by commas
    .png .jpg .jpeg   one image, in grey or colour as the net has learned

Units are those of the data set; bytes, which are pixels, are brought to [0, 1] as in `load`.
"""

from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float32

from funcnet._errors import DataError


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
    x = _read(path, color=len(image_shape or ()) == 3)
    if x.dtype.kind not in "buif":
        raise DataError(f"{path}: its values are of type {x.dtype}; expected numbers. Convert them.")
    shapes = [(features,)] if image_shape is None else [image_shape, (features,)]
    if x.size == 0 or not {x.shape, x.shape[1:]} & {*shapes}:
        raise DataError(
            f"{path}: its values have shape {list(x.shape)}; the net was trained on examples of shape "
            f"{' or '.join(str(list(shape)) for shape in shapes)}. Give one of them, or several."
        )
    rows = x.reshape(-1, features)
    with np.errstate(over="ignore"):  # 1e39 is infinite in float32, and refused below
        rows = np.divide(rows, 255, dtype=np.float32) if rows.dtype == np.uint8 else rows.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise DataError(
            f"{path}: NaN or infinite values, the first in example {bad[0]}. Remove or repair them."
        )
    return rows


def _read(path: Path, color: bool) -> np.ndarray:
    """The file's numbers in the shape that they have there."""
    try:
        match path.suffix.lower():
            case ".npy":
                return np.lib.format.read_array(BytesIO(path.read_bytes()), allow_pickle=False)
            case ".npz":
                with np.lib.npyio.NpzFile(BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                    return arrays["x"]
            case ".csv":
                return _read_csv(path)
            case ".png" | ".jpg" | ".jpeg":
                return _read_image(path, color)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected examples to classify. Check the path.") from error
    except (OSError, EOFError, ValueError, KeyError, SyntaxError, BadZipFile) as error:
        raise DataError(f"{path}: cannot be read: {error}. Write it again.") from error
    raise DataError(f"{path}: a file of another kind; expected .npy, .npz, .csv, .png or .jpg. Convert it.")


def _read_csv(path: Path) -> np.ndarray:
    text = path.read_text().strip()
    if not text:
        raise ValueError("it is empty")
    return np.loadtxt(text.splitlines(), delimiter=",", ndmin=2)


def _read_image(path: Path, color: bool) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"its pixels are of mode {image.mode}, wider than the 8 bits expected")
        return np.asarray(image.convert("RGB" if color else "L"))

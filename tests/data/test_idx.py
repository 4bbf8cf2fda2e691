"""read_idx: what is written comes back, and whatever is damaged is a DataError."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from funcnet import data
from funcnet._errors import DataError

ARRAYS = st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
)


@settings(deadline=None)
@given(array=ARRAYS, zipped=st.booleans())
def test_reads_back_what_was_written(array, zipped, idx_bytes, tmp_path_factory):
    path = tmp_path_factory.mktemp("idx") / "array"
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    read = data.read_idx(path)
    assert read.dtype == array.dtype
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array, strict=True)


@settings(deadline=None)
@given(array=ARRAYS, zipped=st.booleans(), where=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_a_data_error(array, zipped, where, idx_bytes, tmp_path_factory):
    path = tmp_path_factory.mktemp("idx") / "array"
    content = gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array)
    path.write_bytes(content[: int(where * len(content))])
    with pytest.raises(DataError, match="array"):
        data.read_idx(path)


VECTOR = bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 8, 9])
DAMAGES = {
    "empty": (b"", "cannot be read as an idx file: it is empty. Fetch it again"),
    "a byte": (b"\0", "starts with the bytes “00”.*fetch it again"),
    "wrong magic": (b"\x01\x00" + VECTOR[2:], "the bytes “01 00 08 01”; an idx file starts with 00 00"),
    "text": (b"<html>not found</html>", "“3c 68 74 6d”.*another kind of file"),
    "wrong type code": (b"\0\0\x0a" + VECTOR[3:], "type code 0a; an idx file has one of 08, 09, 0b, 0c"),
    "ends in the header": (VECTOR[:6], "ends after 6 bytes, within its header of 8"),
    "truncated": (VECTOR[:-1], r"2 bytes of values.*shape \[3\] of uint8, 3 bytes.*truncated"),
    "trailing byte": (VECTOR + b"\0", r"more bytes of values.*shape \[3\] of uint8, 3 bytes"),
    "more axes than any array has": (bytes([0, 0, 8, 255]) + bytes(4 * 255), "cannot be read as an idx file"),
    "huge header": (bytes([0, 0, 8, 9]) + b"\xff" * 36, "announces shape"),
    "truncated gzip": (gzip.compress(VECTOR)[:-4], "cannot be read as an idx file.*end-of-stream"),
    "damaged gzip": (gzip.compress(VECTOR)[:10] + b"\xff" * 20, "cannot be read as an idx file"),
    "gzip and then something": (gzip.compress(VECTOR) + b"more", "cannot be read as an idx file"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_file(content, message, tmp_path):
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"train-images: .*{message}"):
        data.read_idx(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="nothing: no such file; expected an idx file"):
        data.read_idx(tmp_path / "nothing")


def test_no_memory_is_taken_for_what_a_header_only_announces(tmp_path):
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 2]) + b"\x7f\xff\xff\xff" * 2 + bytes(1000)))
    with pytest.raises(DataError, match=r"shape \[2147483647, .* uint8, which needs 4.61 EB of memory"):
        data.read_idx(path)

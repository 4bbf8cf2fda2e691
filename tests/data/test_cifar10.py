"""cifar10:PATH: the binary version, in folders and archives, whole, damaged and hostile."""

import io
import tarfile

import numpy as np
import pytest

from funcnet import data
from funcnet._errors import DataError

NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
SUBFOLDER = "cifar-10-batches-bin"


@pytest.fixture
def batches():
    """Six files of ten images, each class once in a file."""
    rng = np.random.default_rng(3)
    records = rng.integers(0, 256, (6, 10, 3073), dtype=np.uint8)
    records[:, :, 0] = np.arange(10)
    return {name: batch.tobytes() for name, batch in zip(NAMES, records, strict=True)}


def write_folder(path, files):
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def write_archive(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def in_subfolder(files):
    return {f"{SUBFOLDER}/{name}": content for name, content in files.items()}


LAYOUTS = {
    "folder": lambda path, files: write_folder(path / "bin", files),
    "folder with the subfolder": lambda path, files: write_folder(path / SUBFOLDER, files).parent,
    "tar.gz": lambda path, files: write_archive(path / "c.tar.gz", in_subfolder(files)),
    "tar.gz without the subfolder": lambda path, files: write_archive(path / "c.tar.gz", files),
    "tar": lambda path, files: write_archive(path / "c.tar", in_subfolder(files), mode="w"),
}


@pytest.mark.parametrize("write", LAYOUTS.values(), ids=LAYOUTS)
def test_images_come_in_image_order(write, tmp_path, batches):
    dataset = data.load(f"cifar10:{write(tmp_path, batches)}")
    assert [len(part.y) for part in (dataset.train, dataset.validation, dataset.test)] == [45, 5, 10]
    assert dataset.image_shape == (32, 32, 3)
    assert dataset.classes[3] == "cat"
    assert dataset.test.y.tolist() == list(range(10))
    image = dataset.test.x[4].reshape(32, 32, 3)
    record = batches["test_batch.bin"][4 * 3073 :]
    for row, column, channel in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (31, 31, 2), (7, 20, 1)]:
        assert (
            round(float(image[row, column, channel]) * 255) == record[1 + 1024 * channel + 32 * row + column]
        )


@pytest.mark.parametrize("layout", ["folder", "tar.gz"])
def test_batches_meta_txt_names_the_classes(layout, tmp_path, batches):
    """Ten names and an empty line in the published one; here the animals of another set."""
    animals = [*"abcdefghij", "cow", "owl"]
    batches["batches.meta.txt"] = "\n".join([*animals, "", ""]).encode()
    assert data.load(f"cifar10:{LAYOUTS[layout](tmp_path, batches)}").classes == tuple(animals)


DAMAGES = {
    "truncated": ({NAMES[2]: bytes(30729)}, "30730, 30730, 30729, .* multiple of 3073.*truncated"),
    "a record less": ({NAMES[5]: bytes(27657)}, "27657 bytes; expected six files of one size"),
    "trailing byte everywhere": (dict.fromkeys(NAMES, bytes(30731)), "30731.*multiple of 3073"),
    "empty": (dict.fromkeys(NAMES, b""), "data_batch_1.bin to 5: empty"),
    "a batch missing": ({NAMES[0]: None}, "data_batch_1.bin not found; expected data_batch_1.bin"),
    "nothing there": (dict.fromkeys(NAMES), "binary version.*www.cs.toronto.edu/~kriz/cifar.html"),
    "label out of range": ({NAMES[5]: bytes(6146) + b"\n" * 24584}, "test_batch.bin: label 10 of example 2"),
    "Python version": (dict.fromkeys(NAMES) | {"data_batch_1": b""}, "made of pickles.*binary version"),
}  # fmt: skip


@pytest.mark.parametrize("layout", ["folder", "tar.gz"])
@pytest.mark.parametrize(("change", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_files(change, message, layout, tmp_path, batches):
    files = {name: content for name, content in (batches | change).items() if content is not None}
    path = LAYOUTS[layout](tmp_path, files)
    with pytest.raises(DataError, match=message):
        data.load(f"cifar10:{path}")


def test_python_version_in_its_subfolder_is_refused(tmp_path):
    write_folder(tmp_path / "cifar-10-batches-py", {"data_batch_1": b"", "test_batch": b""})
    with pytest.raises(DataError, match="Python version, which is refused"):
        data.load(f"cifar10:{tmp_path}")


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.6, 0.999])
def test_truncated_archive(share, tmp_path, batches):
    path = write_archive(tmp_path / "c.tar.gz", in_subfolder(batches))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"c\.tar\.gz: cannot be read as the tar\.gz of CIFAR-10"):
        data.load(f"cifar10:{path}")


def test_missing_archive(tmp_path):
    with pytest.raises(DataError, match=r"no such file; expected the tar\.gz of CIFAR-10.*kriz/cifar.html"):
        data.load(f"cifar10:{tmp_path / 'c.tar.gz'}")


@pytest.mark.parametrize("prefix", ["../../", "/", "a/../../"])
def test_reading_an_archive_writes_nothing(prefix, tmp_path, batches, monkeypatch):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    path = write_archive(inside / "c.tar.gz", {prefix + name: content for name, content in batches.items()})
    before = sorted(tmp_path.rglob("*"))
    assert data.load(f"cifar10:{path}").train.x.shape == (45, 3072)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_devices_in_an_archive_are_not_followed(kind, tmp_path, batches):
    secret = tmp_path / "secret"
    secret.write_bytes(batches["test_batch.bin"])
    path = write_archive(
        tmp_path / "c.tar", in_subfolder({name: batches[name] for name in NAMES[:5]}), mode="w"
    )
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo(f"{SUBFOLDER}/test_batch.bin")
        member.type, member.linkname = kind, str(secret)
        archive.addfile(member)
    with pytest.raises(DataError, match=r"test_batch\.bin not found"):
        data.load(f"cifar10:{path}")

"""CUHK03 made into a folder that training and evaluation read."""

import cv2
import numpy as np
import pytest

from benchmarks.datasets import open_retrieval_set
from runtime.errors import ReidEdgeError
from tests.training.small_data import (
    OCCUPIED,
    TESTSETS,
    Bar,
    pixels,
    protocol_rows,
    write_images,
    write_protocol,
    write_raw,
)
from training.cuhk03 import extract_cuhk03
from training.data import open_training_set

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


@pytest.fixture
def mat(tmp_path):
    return write_raw(tmp_path / "cuhk-03.mat", OCCUPIED, TESTSETS)


@pytest.fixture
def protocols(tmp_path):
    return {
        kind: write_protocol(
            tmp_path / f"cuhk03_new_protocol_config_{kind}.mat", protocol_rows(OCCUPIED[kind])
        )
        for kind in OCCUPIED
    }


def market_names(kind):
    """Name to raw name of every image per folder, written out from the rows."""
    names = {folder: {} for folder in FOLDERS.values()}
    for stem, person, camera, part in protocol_rows(OCCUPIED[kind]):
        names[FOLDERS[part]][f"{person:04d}_c{camera}_{int(stem[-2:])}.png"] = stem
    return names


@pytest.mark.parametrize("kind", ["labeled", "detected"])
def test_names_and_pixels_of_the_new_protocol(tmp_path, mat, protocols, kind):
    bars = []

    def progress(label, total):
        bars.append(Bar(label, total))
        return bars[-1]

    out = extract_cuhk03(mat, protocols[kind], tmp_path / "np", kind, progress=progress)
    assert out == tmp_path / "np" / kind
    for folder, names in market_names(kind).items():
        assert {path.name for path in (out / folder).iterdir()} == set(names)
        for name, stem in names.items():
            image = cv2.imread(str(out / folder / name))[:, :, ::-1]
            np.testing.assert_array_equal(image, pixels(kind + stem))
    expected = f"CUHK03 new protocol (cuhk03_new_protocol_config_{kind}.mat), {kind} boxes\n"
    assert (out / "protocol.txt").read_text() == expected
    total = len(protocol_rows(OCCUPIED[kind]))
    assert [(bar.total, bar.done, bar.closed) for bar in bars] == [(total, total, True)]
    assert [path.name for path in (tmp_path / "np").iterdir()] == [kind]
    assert out.stat().st_mode & 0o777 == 0o755


def test_training_and_evaluation_read_what_was_written(tmp_path, mat, protocols):
    out = extract_cuhk03(mat, protocols["labeled"], tmp_path / "np", "labeled", progress=Bar)
    training = open_training_set(out)
    assert (training.name, training.layout) == ("np/labeled", "cuhk03-np")
    assert {crop.person_name for crop in training.crops} == {"1", "2", "4"}
    assert (len(training.crops), training.cameras) == (30, (1, 2))
    retrieval = open_retrieval_set(out)
    assert sorted({crop.person_id for crop in retrieval.query}) == [3, 5]
    assert (len(retrieval.query), len(retrieval.gallery)) == (4, 16)


def test_a_folder_of_images_gives_the_same_folder(tmp_path, mat, protocols):
    stems = [row[0] for row in protocol_rows(OCCUPIED["detected"])]
    images = write_images(tmp_path / "images_detected", *(f"{stem}.png" for stem in stems))
    (images / "Thumbs.db").write_bytes(b"")
    by_mat = extract_cuhk03(mat, protocols["detected"], tmp_path / "a", "detected", progress=Bar)
    copied = extract_cuhk03(images, protocols["detected"], tmp_path / "b", "detected", progress=Bar)
    listings = [
        sorted(path.relative_to(out).as_posix() for path in out.rglob("*"))
        for out in (by_mat, copied)
    ]
    assert listings[0] == listings[1]
    for folder, names in market_names("detected").items():
        for name, stem in names.items():
            assert (copied / folder / name).read_bytes() == (images / f"{stem}.png").read_bytes()


def test_images_of_a_folder_keep_their_format(tmp_path, protocols):
    stems = [row[0] for row in protocol_rows(OCCUPIED["labeled"])]
    images = write_images(tmp_path / "jpegs", *(f"{stem}.jpg" for stem in stems))
    out = extract_cuhk03(images, protocols["labeled"], tmp_path / "np", "labeled", progress=Bar)
    assert (out / "query" / "0003_c1_1.jpg").is_file()
    assert len(open_training_set(out).crops) == 30


def test_a_classic_split(tmp_path, mat):
    out = extract_cuhk03(mat, None, tmp_path / "np", "labeled", split=1, progress=Bar)
    training, retrieval = open_training_set(out), open_retrieval_set(out)
    assert {crop.person_name for crop in training.crops} == {"2", "4", "5"}
    assert {(crop.person_id, crop.camera_id) for crop in retrieval.query} == {(1, 1), (3, 1)}
    assert {(crop.person_id, crop.camera_id) for crop in retrieval.gallery} == {(1, 2), (3, 2)}
    assert "split 1" in (out / "protocol.txt").read_text()


def test_a_failure_leaves_nothing_behind(tmp_path, mat, protocols):
    # Renamed, so that only the images show that it belongs to the other boxes.
    other = protocols["labeled"].rename(tmp_path / "protocol.mat")
    out = tmp_path / "np"
    with pytest.raises(ReidEdgeError, match=r"names 1_002_1_03\.png, which is not in .*cuhk-03"):
        extract_cuhk03(mat, other, out, "detected", progress=Bar)
    stems = [row[0] for row in protocol_rows(OCCUPIED["labeled"])]
    images = write_images(tmp_path / "images", *(f"{stem}.png" for stem in stems[:-1]))
    with pytest.raises(ReidEdgeError, match=rf"names {stems[-1]}\.png, which is not in .*images"):
        extract_cuhk03(images, other, out, "labeled", progress=Bar)
    assert list(out.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path, mat, protocols):
    class Interrupted(Bar):
        def update(self, n):
            super().update(n)
            if self.done == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_cuhk03(mat, protocols["labeled"], tmp_path / "np", "labeled", progress=Interrupted)
    assert list((tmp_path / "np").iterdir()) == []


def test_unclear_requests_are_refused(tmp_path, mat, protocols):
    def extract(
        source=mat, protocol=protocols["labeled"], out=tmp_path, kind="labeled", split=None
    ):
        extract_cuhk03(source, protocol, out, kind, split=split, progress=Bar)

    with pytest.raises(ReidEdgeError, match="got 'drawn'"):
        extract(kind="drawn")
    with pytest.raises(ReidEdgeError, match="got neither"):
        extract(protocol=None)
    with pytest.raises(ReidEdgeError, match="got both"):
        extract(split=0)
    with pytest.raises(ReidEdgeError, match="protocol of detected boxes"):
        extract(protocol=protocols["detected"])
    (tmp_path / "images").mkdir()
    with pytest.raises(ReidEdgeError, match=r"stored in cuhk-03\.mat"):
        extract(source=tmp_path / "images", protocol=None, split=0)
    (tmp_path / "labeled").mkdir()
    with pytest.raises(ReidEdgeError, match="already exists"):
        extract()


def test_a_place_that_cannot_be_written_is_named(tmp_path, mat, protocols):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ReidEdgeError, match=r"Cannot write .*file/labeled"):
        extract_cuhk03(mat, protocols["labeled"], tmp_path / "file", "labeled", progress=Bar)

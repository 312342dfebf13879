"""CUHK03's MATLAB files, written as MATLAB writes them and read back."""

import sys

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from tests.training.small_data import (
    OCCUPIED,
    TESTSETS,
    fill_raw,
    pixels,
    protocol_rows,
    stem,
    write_protocol,
    write_raw,
)
from training.cuhk03_mat import Entry, RawFile, open_raw, read_new_protocol


@pytest.fixture
def mat(tmp_path):
    return write_raw(tmp_path / "cuhk-03.mat", OCCUPIED, TESTSETS)


def test_the_images_of_each_kind_have_their_own_axes_order(mat):
    for kind in ("labeled", "detected"):
        with open_raw(mat, kind) as raw:
            image = raw.image("2_002_2_09")
            assert image.dtype == np.uint8
            np.testing.assert_array_equal(image, pixels(kind + "2_002_2_09"))


def test_empty_and_absent_cells_have_no_image(mat):
    with open_raw(mat, "detected") as raw:
        for name in ("1_002_1_03", "1_002_2_07", "1_004_1_01", "3_001_1_01"):
            assert raw.image(name) is None
        assert raw.image("1_001_1_03") is not None


def test_the_classic_protocol_by_hand(mat):
    with open_raw(mat, "detected") as raw:
        protocol = raw.classic_protocol(0)  # tests person 2 of pair 1, and person 1 of pair 2
    assert {e.person for e in protocol.train} == {1, 3, 5}
    assert len(protocol.train) == 10 + 10 + 8  # the second person of either pair lacks two
    query = [stem(1, 2, c) for c in (1, 2, 4, 5)] + [stem(2, 1, c) for c in range(1, 6)]
    assert [e.stem for e in protocol.query] == query
    gallery = [stem(1, 2, c) for c in (6, 8, 9, 10)] + [stem(2, 1, c) for c in range(6, 11)]
    assert [e.stem for e in protocol.gallery] == gallery
    assert {(e.person, e.camera) for e in protocol.gallery} == {(2, 2), (4, 2)}
    assert protocol.description == "CUHK03 classic protocol, split 0"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_image_of_the_classic_protocol_is_in_one_part(data):
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    masks = [
        np.array(data.draw(st.lists(st.booleans(), min_size=10 * n, max_size=10 * n))).reshape(
            n, 10
        )
        for n in sizes
    ]
    people = [(pair, p) for pair, n in enumerate(sizes, 1) for p in range(1, n + 1)]
    tested = data.draw(st.lists(st.sampled_from(people), unique=True))
    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        fill_raw(file, {"labeled": masks}, [tested])
        protocol = RawFile(file, "in memory", "labeled").classic_protocol(0)
    expected = {}  # part to entries, from the definition
    for number, (pair, person) in enumerate(people, 1):
        for column in range(1, 11):
            if masks[pair - 1][person - 1, column - 1]:
                camera = 1 if column <= 5 else 2
                test = ("query", "gallery")[camera - 1]
                part = test if (pair, person) in tested else "train"
                expected.setdefault(part, []).append(
                    Entry(stem(pair, person, column), number, camera)
                )
    for part in ("train", "query", "gallery"):
        assert list(getattr(protocol, part)) == expected.get(part, [])


@pytest.mark.parametrize("split", [-1, 2])
def test_a_split_that_does_not_exist_is_refused(mat, split):
    with open_raw(mat, "labeled") as raw, pytest.raises(ReidEdgeError, match="0 to 1"):
        raw.classic_protocol(split)


def test_files_that_are_not_the_raw_file_are_refused(tmp_path, mat):
    with pytest.raises(ReidEdgeError, match="Cannot open"), open_raw(
        tmp_path / "no.mat", "labeled"
    ):
        pass
    (tmp_path / "text.mat").write_text("no HDF5")
    with pytest.raises(ReidEdgeError, match=r"MATLAB 7\.3"):
        with open_raw(tmp_path / "text.mat", "labeled"):
            pass
    with h5py.File(mat, "a") as file:
        del file["labeled"]
    with pytest.raises(ReidEdgeError, match="no variable labeled"), open_raw(mat, "labeled"):
        pass
    content = mat.read_bytes()
    mat.write_bytes(content[: len(content) // 2])
    with pytest.raises(ReidEdgeError, match="Cannot open"), open_raw(mat, "detected"):
        pass


def test_an_image_of_another_form_is_refused(tmp_path):
    mat = write_raw(tmp_path / "cuhk-03.mat", {"labeled": [np.ones((1, 10), bool)]}, TESTSETS)
    with h5py.File(mat, "a") as file:
        cell = file[file["labeled"][0, 0]]
        cell[0, 0] = file.create_dataset("gray", data=np.zeros((1, 5, 9), np.uint8)).ref
    with open_raw(mat, "labeled") as raw:
        with pytest.raises(ReidEdgeError, match=r"1_001_1_01 .*\(1, 5, 9\)"):
            raw.image("1_001_1_01")
        assert raw.image("1_001_1_02") is not None


def test_the_new_protocol(tmp_path):
    rows = protocol_rows(OCCUPIED["labeled"])
    protocol = read_new_protocol(write_protocol(tmp_path / "config_labeled.mat", rows))
    for part in ("train", "query", "gallery"):
        expected = [Entry(name, person, camera) for name, person, camera, p in rows if p == part]
        assert list(getattr(protocol, part)) == expected
        assert expected
    assert protocol.description == "CUHK03 new protocol (config_labeled.mat)"


ROWS = protocol_rows(OCCUPIED["labeled"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camId": None, "labels": None}, "no variable labels, camId"),
        ({"train_idx": np.array([[0.0]])}, "train_idx must hold numbers from 1 to 50"),
        ({"query_idx": np.array([[51.0]])}, "query_idx must hold numbers from 1 to 50"),
        ({"gallery_idx": np.zeros((0, 1))}, "gallery_idx must hold"),
        ({"labels": np.ones((49, 1))}, "49 labels"),
        ({"gallery_idx": np.array([[1.0]])}, "1 people in both training and test"),
        ({"train_idx": np.array([[1.0], [1.0]])}, "names 1 images twice in its train part"),
    ],
)
def test_a_broken_protocol_is_refused(tmp_path, changes, message):
    path = write_protocol(tmp_path / "config.mat", ROWS, **changes)
    with pytest.raises(ReidEdgeError, match=message):
        read_new_protocol(path)


def test_other_names_and_other_files_are_refused_as_a_protocol(tmp_path, mat):
    named = write_protocol(tmp_path / "named.mat", [("0001_c1", 1, 1, "train"), *ROWS])
    with pytest.raises(ReidEdgeError, match="the name '0001_c1'"):
        read_new_protocol(named)
    with pytest.raises(ReidEdgeError, match="Cannot read"):
        read_new_protocol(tmp_path / "no.mat")
    (tmp_path / "text.mat").write_text("no MATLAB")
    for path in (tmp_path / "text.mat", mat):
        with pytest.raises(ReidEdgeError, match="not a MATLAB 5 file"):
            read_new_protocol(path)


def test_missing_packages_are_named(tmp_path, mat, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ReidEdgeError, match="pip install h5py"), open_raw(mat, "labeled"):
        pass
    with pytest.raises(ReidEdgeError, match="pip install scipy"):
        read_new_protocol(mat)

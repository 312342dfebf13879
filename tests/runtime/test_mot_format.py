"""MOTChallenge text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from runtime.mot_format import mot_line, mot_lines, read_mot
from runtime.track import Track


def read(tmp_path, text):
    path = tmp_path / "rows.txt"
    path.write_text(text, encoding="utf-8")
    return read_mot(path)


def test_rows_by_frame(tmp_path):
    rows = read(tmp_path, "2,-1,10,20,30,40,0.5,-1,-1,-1\n\n1,-1,0,0,5,6,0.25,-1,-1,-1\n")
    assert rows.frame.tolist() == [1, 2] and rows.id.tolist() == [-1, -1]
    np.testing.assert_allclose(rows.boxes, [[0, 0, 5, 6], [10, 20, 40, 60]])
    assert rows.at(2).confidence.tolist() == [0.5]
    assert len(rows.at(3).frame) == 0 and rows.category is None


def test_classes_of_2016(tmp_path):
    rows = read(tmp_path, "1,7,0,0,5,6,1,1,0.8\n1,8,0,0,5,6,0,3,1\n")
    assert rows.category.tolist() == [1, 3]
    assert rows.select(rows.category == 1).id.tolist() == [7]


def test_rows_of_a_frame_stay_in_the_files_order(tmp_path):
    lines = ["%d,%d,%d,0,5,6,1\n" % (frame, i, i) for i, frame in enumerate([3, 1, 3, 2, 1, 3])]
    rows = read(tmp_path, "".join(lines))
    assert rows.frame.tolist() == [1, 1, 2, 3, 3, 3] and rows.id.tolist() == [1, 4, 3, 0, 2, 5]
    assert [rows.at(n).id.tolist() for n in range(5)] == [[], [1, 4], [3], [0, 2, 5], []]
    assert rows.at(3).boxes[:, 0].tolist() == [0, 2, 5]


@pytest.mark.parametrize(
    "others", ["1,8,0,0,5,6,1,-1,-1,-1\n", "1,8,0,0,5,6,1,1\n", "1,8,0,0,5,6,1\n"]
)
def test_only_files_of_nine_fields_throughout_have_classes(tmp_path, others):
    assert read(tmp_path, "1,7,0,0,5,6,1,1,0.8\n" + others).category is None


def test_empty_file(tmp_path):
    rows = read(tmp_path, "\n")
    assert rows.boxes.shape == (0, 4) and len(rows.at(1).frame) == 0


side = st.floats(0.5, 3000)


@given(st.integers(1, 10**6), st.integers(1, 10**6), side, side, side, side, st.floats(0, 1))
def test_what_is_written_is_read(tmp_path_factory, frame, track, left, top, width, height, score):
    path = tmp_path_factory.mktemp("mot") / "rows.txt"
    path.write_text(mot_line(frame, track, (left, top, left + width, top + height), score))
    rows = read_mot(path)
    assert (rows.frame[0], rows.id[0]) == (frame, track)
    np.testing.assert_allclose(rows.boxes[0], [left, top, left + width, top + height], atol=0.011)
    assert abs(rows.confidence[0] - score) < 1e-4


@pytest.mark.parametrize(
    "line",
    [
        "1,2,3",
        "a,1,0,0,5,5,1",
        "1,1,0,0,nan,5,1",
        "0,1,0,0,5,5,1",
        "1,1,0,0,0,5,1",
        "1.5,1,0,0,5,5,1",
        "1,1.5,0,0,5,5,1",
        "1,1,0,0,5,-5,1",
        "1,1,0,0,5,5,inf",
        "1 1 0 0 5 5 1",
    ],
)
def test_bad_lines_are_named(tmp_path, line):
    with pytest.raises(ReidEdgeError, match=r"rows.txt:2 must"):
        read(tmp_path, "1,1,0,0,5,5,1\n" + line + "\n")


def test_tracks_are_written_line_by_line():
    box = np.array([10, 20, 40.126, 80.5])
    tracks = [
        Track(track, box + shift, score, "confirmed", 1, 0.0, 0, (0.0, 0.0), None)
        for track, shift, score in ((7, 0, 0.93217), (9, 1, 1.0))
    ]
    assert mot_lines(3, tracks) == (
        "3,7,10.00,20.00,30.13,60.50,0.9322,-1,-1,-1\n3,9,11.00,21.00,30.13,60.50,1.0000,-1,-1,-1\n"
    )
    assert mot_lines(3, []) == ""


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "picture.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ReidEdgeError, match=r"Cannot read MOT file .*picture.txt: .*decode"):
        read_mot(tmp_path / "picture.txt")
    with pytest.raises(ReidEdgeError, match="Cannot read MOT file"):
        read_mot(tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(ReidEdgeError, match="No such file"):
        read_mot(tmp_path / "none.txt")

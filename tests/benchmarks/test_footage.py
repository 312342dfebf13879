"""Annotated videos: what is read, who counts as visible, and what is refused."""

import numpy as np
import pytest

from benchmarks.footage import read_footage
from runtime.errors import ReidEdgeError

INFO = (
    "[Sequence]\nname=Drawn\nimDir=img1\nframeRate=12.5\nseqLength=3\nimWidth=320\nimHeight=240\n"
    "imExt=.png\n"
)


@pytest.fixture
def folder(tmp_path):
    """Three frames: 1 and 2 stand apart, then 2 hides 1; 3 does not count and 4 is never in sight."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    write("seqinfo.ini", INFO)
    write(
        "gt/gt.txt",
        "1,1,10,50,40,100,1,-1,-1,-1\n"
        "1,2,200,50,40,110,1,-1,-1,-1\n"
        "2,2,20,50,40,110,1,-1,-1,-1\n"  # covers three quarters of 1
        "2,1,10,50,40,100,1,-1,-1,-1\n"
        "2,3,100,50,40,100,0,-1,-1,-1\n"
        "3,4,320,50,40,100,1,-1,-1,-1\n"
        "9,5,10,50,40,100,1,-1,-1,-1\n",  # behind the end
    )
    write("det/det.txt", "2,-1,12.5,50,40,100,47.5,-1,-1,-1\n")
    write("det/net.txt", "3,-1,1,2,3,4,0.5\n2,-1,12.5,50,40,100,0.9\n2,-1,90,51,41,99,0.25\n")
    return tmp_path


def test_what_is_read(folder):
    footage = read_footage(folder)
    assert (footage.name, footage.rate_hz, len(footage)) == ("Drawn", 12.5, 3)
    assert footage.frames == [
        folder / "img1" / name for name in ("000001.png", "000002.png", "000003.png")
    ]
    assert footage.numbers == [1, 2, 3] and footage.people == [1, 2, 3, 4]
    assert [sorted(boxes) for boxes in footage.truth] == [[1, 2], [1, 2, 3], [4]]
    np.testing.assert_array_equal(footage.truth[1][2], [20, 50, 60, 160])
    assert [len(found) for found in footage.detections] == [0, 2, 1]
    found = footage.detections[1]
    np.testing.assert_array_equal(found.boxes, [[12.5, 50, 52.5, 150], [90, 51, 131, 150]])
    np.testing.assert_array_equal(found.scores, np.float32([0.9, 0.25]))


def test_who_can_be_seen(folder):
    footage = read_footage(folder)
    assert footage.visible == [{1, 2}, {2}, set()]
    assert footage.visible_rows(2) == [0, 1] and footage.visible_rows(4) == []


@pytest.mark.parametrize(
    ("left", "visible"),
    [(29, True), (30, True), (24, False), (25, False)],  # in eighths of the width: 4, 4, 5, 5
)
def test_half_a_person_is_visible(folder, left, visible):
    rows = "1,1,10,50,40,100,1,-1,-1,-1\n1,2,%d,40,40,120,1,-1,-1,-1\n" % left
    (folder / "gt" / "gt.txt").write_text(rows)
    assert (1 in read_footage(folder).visible[0]) is visible


def test_who_is_half_in_front_and_half_behind_is_visible(folder):
    # Three eighths of 1 are covered by 3 in front, nearly as much overlaps 2 behind.
    (folder / "gt" / "gt.txt").write_text(
        "1,1,100,50,48,96,1,-1,-1,-1\n1,2,60,20,58,120,1,-1,-1,-1\n1,3,130,50,40,110,1,-1,-1,-1\n"
    )
    assert read_footage(folder).visible[0] == {1, 2, 3}


def test_classes_of_2016(folder):
    # A pedestrian, one who does not count, a cyclist, a car and a pillar that hides the first.
    (folder / "gt" / "gt.txt").write_text(
        "1,1,10,50,40,100,1,1,0.9\n1,2,60,50,40,100,0,1,1\n1,3,110,50,40,100,1,2,1\n"
        "1,4,160,50,40,100,1,3,1\n1,5,10,50,40,120,0,9,1\n"
    )
    footage = read_footage(folder)
    assert sorted(footage.truth[0]) == [1, 2, 3] and footage.visible[0] == {1}


def test_frames_left_out(folder):
    footage = read_footage(folder)
    cut = footage.without(1, 1)
    assert cut.numbers == [1, 3] and [p.name for p in cut.frames] == ["000001.png", "000003.png"]
    assert [sorted(t) for t in cut.truth] == [[1, 2], [4]] and cut.visible == [{1, 2}, set()]
    assert [len(d) for d in cut.detections] == [0, 1] and len(cut) == 2
    assert (cut.name, cut.rate_hz) == (footage.name, footage.rate_hz) and len(footage) == 3
    assert footage.without(3, 0).numbers == [1, 2, 3]
    for start, count in ((-1, 1), (2, 2), (0, -1)):
        with pytest.raises(
            ReidEdgeError, match="Cannot leave out %d frames from row %d" % (count, start)
        ):
            footage.without(start, count)


def test_chosen_detections(folder):
    assert len(read_footage(folder, folder / "det" / "net.txt").detections[1]) == 2
    with pytest.raises(ReidEdgeError, match="Scores must be from 0 to 1"):
        read_footage(folder, folder / "det" / "det.txt")
    (folder / "det" / "net.txt").unlink()
    with pytest.raises(ReidEdgeError, match="must have one file with scores from 0 to 1"):
        read_footage(folder)
    with pytest.raises(ReidEdgeError, match=r"Cannot read MOT file .*none.txt: No such file"):
        read_footage(folder, folder / "none.txt")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("seqinfo.ini", None, "has no seqinfo.ini"),
        ("seqinfo.ini", "[Sequence]\nname=x\n", "lacks a good entry: 'frameRate'"),
        ("seqinfo.ini", "name=x\n", "Cannot read .*seqinfo.ini: .*no section headers"),
        ("seqinfo.ini", b"\xff\xfe\x00", "Cannot read .*seqinfo.ini: "),
        ("seqinfo.ini", INFO.replace("12.5", "fast"), "lacks a good entry.*fast"),
        ("seqinfo.ini", INFO.replace("12.5", "0"), "frameRate above 0, got 3 and 0"),
        ("seqinfo.ini", INFO.replace("12.5", "nan"), "frameRate above 0, got 3 and nan"),
        ("seqinfo.ini", INFO.replace("h=3", "h=0"), "seqLength of at least 1 .* got 0 and 12.5"),
        ("gt/gt.txt", None, "Cannot read MOT file .*gt.txt: No such file"),
        ("gt/gt.txt", "1,1,10,50,40\n", "gt.txt:1 must be at least 7 finite numbers"),
        ("gt/gt.txt", "2,1,1,1,9,9,1\n2,1,9,1,9,9,1\n", r"once per frame, got \[1, 1\] on frame 2"),
        ("det/net.txt", "1,-1,10,50,40,nan,1\n", "net.txt:1 must be"),
    ],
)
def test_what_is_no_sequence_is_refused(folder, name, text, said):
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ReidEdgeError, match=said) as refused:
        read_footage(folder)
    assert "\n" not in str(refused.value)


def test_real_sequences(shared):
    eth = read_footage(shared / "video" / "ETH-Sunnyday")
    assert (len(eth), eth.rate_hz, eth.people) == (200, 14, list(range(1, 19)))
    assert eth.frames[-1].is_file() and sum(map(len, eth.truth)) == 1022
    # 4 and 5 are followed by the camera and in front of everybody but whom they meet.
    assert all({4, 5} <= boxes.keys() for boxes in eth.truth)
    assert min(len(eth.visible_rows(person)) for person in (4, 5)) >= 195
    tud = read_footage(shared / "video" / "TUD-Stadtmitte")
    hidden = sum(map(len, tud.truth)) - sum(map(len, tud.visible))
    assert 150 < hidden < 250  # heavy occlusion

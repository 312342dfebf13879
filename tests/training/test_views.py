"""The CSV file of views."""

import pytest

from runtime.errors import ReidEdgeError
from tests.training.small_data import write_images
from training.views import ViewLabel, read_views, same_file_key


def write(tmp_path, content):
    path = tmp_path / "views.csv"
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_become_labels(tmp_path, mark, end):
    root = write_images(tmp_path / "set", "a/1.jpg", "a/2,3.jpg", "b/4.jpg")
    lines = ["path,view", "a/1.jpg,rear", '"a/2,3.jpg", side', "", "./a/../b/4.jpg,front", ""]
    assert read_views(write(tmp_path, mark + end.join(lines)), root) == {
        same_file_key(root / "a/1.jpg"): ViewLabel("rear", 2),
        same_file_key(root / "a/2,3.jpg"): ViewLabel("side", 3),
        same_file_key(root / "b/4.jpg"): ViewLabel("front", 5),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Line 1 .*header path,view, got ''"),
        ("1.jpg,rear\n", "Line 1 .*got '1.jpg,rear'"),
        ("path,view\n1.jpg,rear\n1.jpg\n", "Line 3 .*must be path,view, got '1.jpg'"),
        ("path,view\n1.jpg,rear,front\n", "Line 2 .*must be path,view"),
        ("path,view\n\n1.jpg,back\n", "Line 3 .*rear, front, side, got 'back'"),
        ("path,view\n2.jpg,rear\n", "Line 2 .*'2.jpg', but there is no such file"),
        ("path,view\n,rear\n", "Line 2 .*''"),
        ("path,view\n1.jpg,rear\n./1.jpg,rear\n", "Line 3 .*again, after line 2"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, content, message):
    write_images(tmp_path, "1.jpg")
    with pytest.raises(ReidEdgeError, match=message):
        read_views(write(tmp_path, content), tmp_path)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ReidEdgeError, match="Cannot read views"):
        read_views(tmp_path / "no.csv", tmp_path)
    (tmp_path / "views.csv").write_bytes(b"path,view\n\xff.jpg,rear\n")
    with pytest.raises(ReidEdgeError, match="UTF-8"):
        read_views(tmp_path / "views.csv", tmp_path)

"""Files of a training set: what cannot be read, what lies under two people, and who hears of it."""

import shutil

import pytest

from runtime.errors import ReidEdgeError
from tests.training.small_data import Bar, write_images
from training.data import open_training_set
from training.image_check import check_images, shared_images, unreadable_images, write_problems

BROKEN = ("a/a1.jpg", "c/c1.png", "c/c2.jpg")


@pytest.fixture
def root(tmp_path):
    """Four people; all three files of BROKEN are good still."""
    names = [f"{who}/{who}{i}.jpg" for who in "abd" for i in range(3)]
    return write_images(tmp_path / "own", *names, "c/c1.png", "c/c2.jpg")


def break_images(root):
    (root / BROKEN[0]).write_bytes(b"")
    png = root / BROKEN[1]
    png.write_bytes(png.read_bytes()[:-20])
    (root / BROKEN[2]).write_text("no image")


def test_unreadable_images_are_found(root):
    crops = open_training_set(root).crops
    bars = []

    def progress(label, total):
        bars.append(Bar(label, total))
        return bars[-1]

    assert unreadable_images(crops, progress) == {}
    break_images(root)
    (root / "d/d0.jpg").unlink()
    found = unreadable_images(crops, progress)
    assert list(found) == [root / name for name in (*BROKEN, "d/d0.jpg")]
    for name in BROKEN:
        assert f"{name} is not an image" in found[root / name]
    assert "Cannot read image" in found[root / "d/d0.jpg"]
    assert all((bar.total, bar.done, bar.closed) == (11, 11, True) for bar in bars)


def test_unreadable_images_are_left_out_and_all_named(root):
    found, said = open_training_set(root), []
    assert check_images(found, Bar, said.append, True) is not None
    break_images(root)
    readable = check_images(found, Bar, said.append, skip_unreadable=True)
    assert said == []
    assert len(readable.problems) == 3
    for problem, name in zip(readable.problems, BROKEN):
        assert name in problem
    assert readable.left_out == {"that cannot be read": 3}
    assert [crop.path.parent.name for crop in readable.crops] == [*"aabbbddd"]
    # Identity c is gone, so d moves up.
    assert [crop.person for crop in readable.crops] == [0, 0, 1, 1, 1, 2, 2, 2]


def test_a_refusal_names_every_file(root):
    break_images(root)
    for name in ("d/d0.jpg", "b/b2.jpg"):
        (root / name).write_bytes(b"cut")
    (root / "a/photo.heic").write_bytes(b"photo")
    said: list[str] = []
    with pytest.raises(ReidEdgeError, match=r"^5 of 11 training images cannot be read") as error:
        check_images(open_training_set(root), Bar, said.append)
    assert "all are listed above" in str(error.value) and "--skip-unreadable" in str(error.value)
    assert len(said) == 6
    for name in (*BROKEN, "d/d0.jpg", "b/b2.jpg", "a/photo.heic"):
        assert any(name in line for line in said), name


def test_too_few_readable_images_are_refused_and_named(tmp_path):
    root = write_images(tmp_path, "a/a1.jpg", "a/a2.jpg", "c/c1.png", "c/c2.jpg")
    found, said = open_training_set(root), []
    break_images(root)
    with pytest.raises(ReidEdgeError, match="at least 2 identities, got 1"):
        check_images(found, Bar, said.append, skip_unreadable=True)
    assert all(any(name in line for line in said) for name in BROKEN)


def test_one_image_under_two_people_is_named(root):
    """By its bytes: neither another image of the same size nor a copy of the same person is meant."""
    assert shared_images(open_training_set(root).crops, Bar) == []
    shutil.copy(root / "a/a0.jpg", root / "a/again.jpg")
    shutil.copy(root / "b/b2.jpg", root / "c/other.jpg")
    shutil.copy(root / "b/b2.jpg", root / "d/another.jpg")
    same_size = bytearray((root / "b/b1.jpg").read_bytes())
    same_size[-3] ^= 1
    (root / "d/size.jpg").write_bytes(same_size)
    found = open_training_set(root)
    (sentence,) = shared_images(found.crops, Bar)
    places = " and ".join(str(root / n) for n in ("b/b2.jpg", "c/other.jpg", "d/another.jpg"))
    assert sentence.startswith(f"{places} are one image under 3 people")
    checked = check_images(found, Bar, [].append)
    assert checked.problems == (sentence,) and checked.crops == found.crops
    assert "are one image under 3 people" in checked.report()


def test_problems_are_written_where_there_are_any(root, tmp_path):
    found = open_training_set(root)
    assert write_problems(found, tmp_path) is None
    assert not (tmp_path / "problems.txt").exists()
    many = found.with_problems([f"image {i} is bad." for i in range(8)])
    line = write_problems(many, tmp_path)
    assert line == f"{tmp_path / 'problems.txt'} names all files with problems: 8"
    assert (tmp_path / "problems.txt").read_text().splitlines() == list(many.problems)
    with pytest.raises(ReidEdgeError, match=r"Cannot write .*absent"):
        write_problems(many, tmp_path / "absent")

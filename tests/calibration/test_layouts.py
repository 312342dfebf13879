"""Finding training crops, and never test crops."""

import pytest

from calibration.layouts import Crop, images_not_read, parse_reid_name, training_crops
from runtime.errors import ReidEdgeError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0002_c1s1_000451_03.jpg", (2, 1)),
        ("-1_c3s2_000776_01.jpg", (-1, 3)),
        ("0000_c6s4_002677_05.jpg", (0, 6)),
        ("0001_c2_f0046182.jpg", (1, 2)),
        ("7140_c8_f0085834.jpg", (7140, 8)),
        ("0001_c1_1.png", (1, 1)),
        ("1467_c2_10.png", (1467, 2)),
        ("0000_000_01_0303morning_0015_0.jpg", (0, 1)),
        ("1040_033_15_0303afternoon_1123_2_ex.jpg", (1040, 15)),
        ("IMG_20240101.jpg", None),
        ("0002.jpg", None),
        ("x0002_c1s1_000451_03.jpg", None),
    ],
)
def test_names_of_the_data_sets(name, expected):
    assert parse_reid_name(name) == expected


@pytest.mark.parametrize(
    ("layout", "name", "labels"),
    [
        ("market1501", "0002_c3s1_000451_03.jpg", (2, 3)),
        ("dukemtmc", "0001_c2_f0046182.jpg", (1, 2)),
        ("cuhk03-np", "0011_c1_1.png", (11, 1)),
    ],
)
def test_the_training_folder_of_a_root_or_itself(tmp_path, layout, name, labels):
    touch(tmp_path, f"bounding_box_train/{name}", "bounding_box_train/Thumbs.db")
    touch(tmp_path, f"query/{name}", f"bounding_box_test/{name}")
    train = tmp_path / "bounding_box_train"
    expected = ([Crop(train / name, *labels)], layout)
    assert training_crops(tmp_path) == expected
    assert training_crops(train) == expected
    assert training_crops(str(train)) == expected


@pytest.mark.parametrize(
    "folder", ["query", "bounding_box_test", "gallery", "Query", "query/0001", "test"]
)
def test_test_crops_are_refused(tmp_path, folder):
    touch(tmp_path, f"{folder}/0002_c3s1_000451_03.jpg", "bounding_box_train/0001_c1s1_1_1.jpg")
    with pytest.raises(ReidEdgeError, match="test crops"):
        training_crops(tmp_path / folder)


def test_test_crops_behind_a_link_or_deep_inside_are_refused(tmp_path):
    touch(tmp_path, "set/query/0002_c3s1_000451_03.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "set" / "query")
    with pytest.raises(ReidEdgeError, match="test crops"):
        training_crops(tmp_path / "link")
    with pytest.raises(ReidEdgeError, match="no training folder"):
        training_crops(tmp_path)


@pytest.mark.parametrize("folder", ["train", "mask_train_v2", "."])
def test_msmt17_lists(tmp_path, folder):
    names = ["0007/0007_003_14_0303noon_0015_0.jpg", "0000/0000_000_01_0303morning_0015_0.jpg"]
    touch(tmp_path / folder, *names)
    touch(tmp_path, "test/0001/0001_000_01_0303morning_0015_0.jpg")
    (tmp_path / "list_train.txt").write_text(f"{names[0]} 7\n")
    (tmp_path / "list_val.txt").write_text(f"{names[1]} 0\n\n")
    (tmp_path / "list_query.txt").write_text("0001/0001_000_01_0303morning_0015_0.jpg 1\n")
    crops, layout = training_crops(tmp_path)
    assert layout == "msmt17"
    base = tmp_path / folder
    assert crops == [Crop(base / names[1], 0, 1), Crop(base / names[0], 7, 14)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0007/0007_003_14_0303noon_0015_0.jpg", "Line 1"),
        ("0007/other.jpg 7", "Line 1"),
        ("0007/0007_003_14_0303noon_0015_0.jpg seven", "Line 1"),
        ("0009/0009_003_14_0303noon_0015_0.jpg 9", "no such file"),
        ("", "name no images"),
    ],
)
def test_bad_msmt17_lists_are_refused(tmp_path, line, message):
    touch(tmp_path / "train", "0007/0007_003_14_0303noon_0015_0.jpg")
    (tmp_path / "list_train.txt").write_text(line + "\n")
    with pytest.raises(ReidEdgeError, match=message):
        training_crops(tmp_path)


def test_one_folder_per_identity(tmp_path):
    touch(tmp_path, "anna/a.jpg", "ben/b.PNG", "ben/deep/c.webp", "loose.bmp")
    crops, layout = training_crops(tmp_path)
    assert layout == "folders"
    found = {crop.path.name: (crop.person_id, crop.camera_id) for crop in crops}
    assert found == {"a.jpg": (0, -1), "b.PNG": (1, -1), "c.webp": (2, -1), "loose.bmp": (-1, -1)}
    numbered = tmp_path / "numbered"
    touch(numbered, "0007/a.jpg", "0012/b.jpg")
    assert [crop.person_id for crop in training_crops(numbered)[0]] == [7, 12]


def test_flat_folder_is_sorted_and_ignores_other_files(tmp_path):
    touch(tmp_path, "b.jpeg", "a.bmp", "c.JPG", "notes.txt", ".hidden.jpg")
    crops, layout = training_crops(tmp_path)
    assert layout == "flat"
    assert crops == [Crop(tmp_path / name) for name in ("a.bmp", "b.jpeg", "c.JPG")]


def test_folders_without_images_are_refused(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(ReidEdgeError, match="No images"):
        training_crops(tmp_path)
    with pytest.raises(ReidEdgeError, match="no folder"):
        training_crops(tmp_path / "absent")


@pytest.mark.parametrize(
    "folder", [".thumbs", "@eaDir", "@eaDir/anna", "__MACOSX", "anna/@eaDir", "#recycle", ".query"]
)
def test_folders_of_systems_are_no_identities(tmp_path, folder):
    touch(tmp_path, "anna/a.jpg", "ben/b.jpg", f"{folder}/x.jpg", "anna/._a.jpg", "anna/@x.jpg")
    crops, layout = training_crops(tmp_path)
    assert layout == "folders" and [crop.path.name for crop in crops] == ["a.jpg", "b.jpg"]
    assert images_not_read(tmp_path) == []


def test_a_folder_inside_a_hidden_one_is_the_users_own(tmp_path):
    touch(tmp_path, ".cache/people/anna/a.jpg")
    assert len(training_crops(tmp_path / ".cache" / "people")[0]) == 1


def test_photographs_of_other_formats_are_listed(tmp_path):
    touch(tmp_path / "train", "anna/a.jpg", "anna/b.HEIC", "ben/c.tiff", "ben/notes.txt")
    touch(tmp_path, "train/.thumbs/d.heic", "holiday/e.heic")
    assert len(training_crops(tmp_path)[0]) == 1
    expected = [tmp_path / "train" / name for name in ("anna/b.HEIC", "ben/c.tiff")]
    assert images_not_read(tmp_path) == images_not_read(tmp_path / "train") == expected
    with pytest.raises(ReidEdgeError, match=r"got 1 \.heic; convert them to \.jpg or \.png"):
        training_crops(tmp_path / "holiday")


def test_market1501(shared):
    crops, layout = training_crops(shared / "data/market1501")
    assert (layout, len(crops)) == ("market1501", 12936)
    assert len({crop.person_id for crop in crops}) == 751
    assert {crop.camera_id for crop in crops} == {1, 2, 3, 4, 5, 6}
    assert crops == sorted(crops, key=lambda crop: crop.path)
    for folder in ("query", "bounding_box_test"):
        with pytest.raises(ReidEdgeError, match="test crops"):
            training_crops(shared / "data/market1501" / folder)

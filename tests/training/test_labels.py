"""Who is on each training image, layout by layout."""

import pytest

from runtime.errors import ReidEdgeError
from tests.training.small_data import OCCUPIED, protocol_rows, write_images, write_protocol
from training.labels import Labelled, read_labels


def read(root, layout=None, include_val=False, protocol=None):
    return read_labels(root, layout, include_val, protocol)


def facts(labels):
    return [(i.path.name, i.identity, i.camera_id, i.view) for i in labels.images]


@pytest.mark.parametrize(
    ("layout", "name", "label"),
    [
        ("market1501", "0002_c3s1_000451_03.jpg", (2, 3)),
        ("dukemtmc", "0001_c2_f0046182.jpg", (1, 2)),
        ("cuhk03-np", "0011_c1_1.png", (11, 1)),
    ],
)
def test_names_of_the_data_sets(tmp_path, layout, name, label):
    root = write_images(tmp_path, f"bounding_box_train/{name}", f"query/{name}", f"gallery/{name}")
    expected = [(name, *label, None)]
    for labels in (read(root), read(root / "bounding_box_train"), read(root, layout)):
        assert (labels.layout, facts(labels)) == (layout, expected)
        assert (labels.left_out, labels.problems) == ({}, [])
    others = {"market1501", "dukemtmc", "cuhk03-np", "msmt17"} - {layout}
    for other in others:
        with pytest.raises(ReidEdgeError, match=f"was to be {other}, .*those of {layout}"):
            read(root, other)


def test_junk_distractors_and_unreadable_names_are_left_out(tmp_path):
    good = ["0002_c1s1_000451_03.jpg", "0002_c2s1_000451_03.jpg", "0007_c1s1_000451_03.jpg"]
    bad = ["-1_c1s1_000401_03.jpg", "0000_c2s1_000401_03.jpg", "0000_c3s1_000401_03.jpg"]
    labels = read(write_images(tmp_path / "bounding_box_train", *good, *bad, "wrong.jpg"))
    assert [image.path.name for image in labels.images] == good
    assert labels.left_out == {
        "junk (identity -1)": 1,
        "distractors (identity 0)": 2,
        "without a label": 1,
    }
    assert labels.problems == [
        "wrong.jpg has no identity in its name; expected one like 0002_c1s1_000451_03.jpg."
    ]


def test_identity_0_is_a_person_outside_market1501(tmp_path):
    labels = read(write_images(tmp_path, "0000_c1_f0046182.jpg", "0001_c2_f0046182.jpg"))
    assert [image.identity for image in labels.images] == [0, 1]
    labels = read(write_images(tmp_path / "own", "0/a.jpg", "1/b.jpg"))
    assert [image.identity for image in labels.images] == ["0", "1"]


@pytest.mark.parametrize("folder", ["query", "bounding_box_test", "gallery", "test"])
def test_test_images_are_refused(tmp_path, folder):
    write_images(tmp_path, f"{folder}/0002_c3s1_000451_03.jpg")
    for root in (tmp_path / folder, tmp_path):
        with pytest.raises(ReidEdgeError, match="test crops"):
            read(root)


MSMT17 = {
    "list_train.txt": [
        "0007/0007_003_14_0303noon_0015_0.jpg",
        "0000/0000_000_01_0303morning_0015_0.jpg",
    ],
    "list_val.txt": ["0007/0007_010_03_0303morning_0020_1.jpg"],
}


def write_msmt17(root, folder):
    for name, files in MSMT17.items():
        write_images(root / folder, *files)
        lines = [f"{file} {int(file[:4])}\n" for file in files]
        (root / name).write_text("".join(lines))
    write_images(root / "test", "0001/0001_000_01_0303morning_0015_0.jpg")
    return root


@pytest.mark.parametrize("folder", ["train", "mask_train_v2"])
def test_msmt17_lists(tmp_path, folder):
    root = write_msmt17(tmp_path, folder)
    train = [
        ("0000_000_01_0303morning_0015_0.jpg", 0, 1, None),
        ("0007_003_14_0303noon_0015_0.jpg", 7, 14, None),
    ]
    labels = read(root)
    assert (labels.layout, facts(labels)) == ("msmt17", train)
    assert labels.left_out == {"for validation (list_val.txt)": 1}
    labels = read(root, include_val=True)
    assert facts(labels) == [*train, ("0007_010_03_0303morning_0020_1.jpg", 7, 3, None)]
    assert labels.left_out == {}
    assert all(image.path.is_relative_to(root / folder) for image in labels.images)


def test_msmt17_needs_its_lists(tmp_path):
    root = write_msmt17(tmp_path, "train")
    with pytest.raises(ReidEdgeError, match=r"list_train\.txt .* is not in .*root"):
        read(root / "train")
    (root / "list_val.txt").unlink()
    assert read(root).left_out == {}
    with pytest.raises(ReidEdgeError, match=r"No list_val\.txt"):
        read(root, include_val=True)
    (root / "list_train.txt").write_text("0007/missing.jpg 7\n")
    with pytest.raises(ReidEdgeError, match="Line 1"):
        read(root)


def test_only_msmt17_has_a_validation_list(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"Only MSMT17 .* is market1501"):
        read(write_images(tmp_path, "0002_c1s1_000451_03.jpg"), include_val=True)


def test_cuhk03_under_its_own_names(tmp_path):
    rows = protocol_rows(OCCUPIED["detected"])[::-1]  # the order of the file is not by name
    images = write_images(tmp_path / "images_detected", *(f"{row[0]}.png" for row in rows))
    protocol = write_protocol(tmp_path / "config_detected.mat", rows)
    labels = read(images, protocol=protocol)
    train = [(n, person, camera, None) for n, person, camera, part in rows if part == "train"]
    assert labels.layout == "cuhk03"
    assert facts(labels) == sorted((f"{name}.png", *rest) for name, *rest in train)
    with pytest.raises(ReidEdgeError, match="market1501 was asked for"):
        read(images, "market1501", protocol=protocol)
    (images / f"{train[0][0]}.png").unlink()
    with pytest.raises(ReidEdgeError, match=f"names {train[0][0]}"):
        read(images, protocol=protocol)


@pytest.mark.parametrize("layout", [None, "cuhk03"])
@pytest.mark.parametrize("folder", ["images_labeled", "."])
def test_cuhk03_under_its_own_names_needs_a_protocol(tmp_path, layout, folder):
    # In the release's tree, its two folders of images would look like two identities.
    write_images(tmp_path, "images_labeled/1_001_1_01.png", "images_detected/1_001_1_01.png")
    with pytest.raises(ReidEdgeError, match="needs a protocol"):
        read(tmp_path / folder, layout)


def test_one_folder_per_identity(tmp_path):
    names = ["anna/a.jpg", "ben/rear/b.png", "ben/Front/c.webp", "ben/d.jpg", "-1/e.jpg", "f.jpg"]
    labels = read(write_images(tmp_path, *names))
    assert labels.layout == "folders"
    expected = {
        "a.jpg": ("anna", -1, None),
        "b.png": ("ben", -1, "rear"),
        "c.webp": ("ben", -1, "front"),
        "d.jpg": ("ben", -1, None),
    }
    assert {name: tuple(rest) for name, *rest in facts(labels)} == expected
    assert labels.left_out == {"junk (identity -1)": 1, "without a label": 1}
    assert labels.problems == ["f.jpg lies in no folder of an identity."]


def test_photographs_of_other_formats_are_named_and_counted(tmp_path):
    root = write_images(tmp_path / "own", "anna/a.jpg", "ben/b.jpg")
    for name in ("anna/a.HEIC", "ben/c.tiff", "zoe/d.heic", ".thumbs/e.heic"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"photo")
    labels = read(root)
    assert [image.identity for image in labels.images] == ["anna", "ben"]
    assert labels.left_out == {"of formats that are not read (.heic, .tiff)": 3}
    assert labels.problems == [
        f"{name} is of a format that is not read; convert it to .jpg or .png."
        for name in ("anna/a.HEIC", "ben/c.tiff", "zoe/d.heic")
    ]


def test_thumbnails_of_a_system_are_no_person(tmp_path):
    names = ["anna/a.jpg", "ben/b.jpg", ".thumbs/a.jpg", "@eaDir/b.jpg", "anna/@eaDir/c.jpg"]
    labels = read(write_images(tmp_path, *names))
    assert [image.identity for image in labels.images] == ["anna", "ben"]
    assert (labels.left_out, labels.problems) == ({}, [])


@pytest.mark.parametrize("folder", ["train", "train_all", "bounding_box_train"])
def test_identities_in_a_training_folder(tmp_path, folder):
    root = write_images(tmp_path / folder, "anna/a.jpg", "ben/side/b.jpg", "x.jpg").parent
    labels = read(root)
    assert [(i.identity, i.view) for i in labels.images] == [("anna", None), ("ben", "side")]
    assert labels.problems == [f"{folder}/x.jpg lies in no folder of an identity."]


@pytest.mark.parametrize("wrong", ["ben/raer/c.jpg", "ben/rear/deep/c.jpg"])
def test_other_folders_inside_an_identity_are_refused(tmp_path, wrong):
    root = write_images(tmp_path, "anna/a.jpg", "anna/rear/b.jpg", "ben/front/d.jpg", wrong)
    with pytest.raises(ReidEdgeError, match="rear, front, side and nothing else"):
        read(root)


def test_cameras_of_own_data_count_if_all_images_have_one(tmp_path):
    names = ["anna/1_c1_1.jpg", "anna/rear/1_c2_2.jpg", "ben/1_c3_1.jpg"]
    root = write_images(tmp_path, *names)
    assert [image.camera_id for image in read(root, "folders").images] == [1, 2, 3]
    write_images(root, "ben/holiday.jpg")
    assert {image.camera_id for image in read(root, "folders").images} == {-1}


def test_names_and_folders_that_disagree_need_a_choice(tmp_path):
    root = write_images(tmp_path, "anna/0001_c1_1.jpg", "ben/0001_c1_2.jpg")
    with pytest.raises(ReidEdgeError, match="identity 1 by its name but anna by its folder"):
        read(root)
    assert [image.identity for image in read(root, "folders").images] == ["anna", "ben"]
    assert [image.identity for image in read(root, "cuhk03-np").images] == [1, 1]


def test_names_and_folders_that_agree_need_none(tmp_path):
    names = ["0001/0001_c1s1_000151_01.jpg", "0012/rear/0012_c2s1_000151_01.jpg"]
    labels = read(write_images(tmp_path / "train_all", *names, "-1/-1_c1s1_000151_01.jpg"))
    assert [i[1:] for i in labels.images] == [(1, 1, None), (12, 2, "rear")]
    assert labels.left_out == {"junk (identity -1)": 1}


def test_folders_of_views_around_a_whole_data_set(tmp_path):
    names = ["rear/0001_c1s1_000151_01.jpg", "side/0002_c2s1_000151_01.jpg"]
    root = write_images(tmp_path, *names)
    assert read(root).images == [
        Labelled(root / names[0], 1, 1, "rear"),
        Labelled(root / names[1], 2, 2, "side"),
    ]


def test_images_without_identities_are_refused(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"have no identity \(a\.jpg\)"):
        read(write_images(tmp_path, "a.jpg", "b.jpg"))

"""Training sets: what is in them, what is said about them, what is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from tests.training.small_data import Bar, write_images
from training.data import (
    TrainingCrop,
    TrainingSet,
    limit_identities,
    open_training_set,
    require_pairs,
)
from training.image_check import unreadable_images

MARKET = [
    "0007_c1s1_000451_01.jpg",
    "0002_c1s1_000451_03.jpg",
    "0002_c6s1_000451_03.jpg",
    "0007_c3s1_000451_02.jpg",
    "0007_c3s1_000451_03.jpg",
    "-1_c1s1_000401_03.jpg",
    "wrong.jpg",
]


@pytest.fixture
def market(tmp_path):
    return write_images(tmp_path / "Market" / "bounding_box_train", *MARKET).parent


def test_labels_have_no_gaps_and_keep_the_identity(market):
    found = open_training_set(market)
    folder = market / "bounding_box_train"
    assert found.crops == (
        TrainingCrop(folder / MARKET[1], 0, "2", 1),
        TrainingCrop(folder / MARKET[2], 0, "2", 6),
        TrainingCrop(folder / MARKET[0], 1, "7", 1),
        TrainingCrop(folder / MARKET[3], 1, "7", 3),
        TrainingCrop(folder / MARKET[4], 1, "7", 3),
    )
    assert (found.name, found.layout) == ("Market", "market1501")
    assert (found.identities, found.cameras) == (2, (1, 3, 6))
    assert open_training_set(folder).crops == found.crops
    assert open_training_set(folder).name == "Market/bounding_box_train"


def test_identities_are_labelled_in_the_order_of_their_numbers(tmp_path):
    names = [f"{person}_c1_{i}.jpg" for person in (10, 9, 100) for i in (1, 2)]
    found = open_training_set(write_images(tmp_path, *names))
    assert {crop.person_name: crop.person for crop in found.crops} == {"9": 0, "10": 1, "100": 2}


def test_record_and_report(market):
    found = open_training_set(market)
    assert json.loads(json.dumps(found.record())) == {
        "name": "Market",
        "layout": "market1501",
        "images": 5,
        "identities": 2,
        "cameras": [1, 3, 6],
        "images_per_camera": {"1": 2, "3": 2, "6": 1},
        "images_per_identity": {"min": 2, "median": 2.5, "max": 3},
        "views": {"unknown": 5},
        "left_out": {"junk (identity -1)": 1, "without a label": 1},
        "problems": 1,
    }
    assert found.report().splitlines() == [
        "Market (market1501): 5 images of 2 identities, 3 cameras",
        "images per identity: 2 to 3, median 2.5",
        "left out: 1 junk (identity -1), 1 without a label",
        "problems: bounding_box_train/wrong.jpg has no identity in its name; expected one like "
        "0002_c1s1_000451_03.jpg.",
    ]


def test_the_report_names_five_problems_and_views(tmp_path):
    names = [f"{who}/{view}/{i}.jpg" for who in "ab" for i, view in enumerate(("rear", "side"))]
    found = open_training_set(
        write_images(tmp_path / "own", *names, *(f"{i}.png" for i in "1234567"))
    )
    assert len(found.problems) == 7
    lines = found.report().splitlines()
    assert lines[0] == "own (folders): 4 images of 2 identities, unknown cameras"
    assert "views: rear 2, side 2" in lines
    assert "5.png" in lines[-1] and "6.png" not in lines[-1]
    assert lines[-1].endswith("And 2 more.")


def test_views_of_a_csv_file(market, tmp_path):
    write_images(market, "query/0009_c1s1_000451_01.jpg")
    csv = tmp_path / "views.csv"
    labels = {MARKET[0]: "front", MARKET[2]: "rear", MARKET[5]: "rear"}
    lines = [f"bounding_box_train/{name},{view}" for name, view in labels.items()]
    csv.write_text("\n".join(["path,view", *lines, "query/0009_c1s1_000451_01.jpg,side"]))
    found = open_training_set(market, views=csv)
    assert [crop.view for crop in found.crops] == [None, "rear", "front", None, None]
    assert found.record()["views"] == {"rear": 1, "front": 1, "unknown": 3}


def test_views_that_contradict_the_folders_or_match_nothing_are_refused(tmp_path):
    root = write_images(tmp_path / "own", "a/rear/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg")
    csv = tmp_path / "views.csv"
    csv.write_text("path,view\na/rear/1.jpg,rear\na/2.jpg,side\n")
    views = [crop.view for crop in open_training_set(root, views=csv).crops]
    assert views == ["side", "rear", None, None]
    csv.write_text("path,view\na/2.jpg,side\na/rear/1.jpg,side\n")
    with pytest.raises(ReidEdgeError, match=r"Line 3 .* says side, but .*1\.jpg .* folder rear"):
        open_training_set(root, views=csv)
    (root / "notes.txt").write_text("")
    (root / "a/rear/1.jpg").rename(root / "a/1.jpg")
    csv.write_text("path,view\nnotes.txt,side\n")
    with pytest.raises(ReidEdgeError, match="labels none of the training images"):
        open_training_set(root, views=csv)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.jpg", "a/2.jpg"], "at least 2 identities, got 1"),
        (["a/1.jpg", "a/2.jpg", "b/3.jpg"], "2 images or more, but .* 3 images of 2"),
        (["-1/1.jpg", "-1/2.jpg", "loose.jpg"], "got 0 .*loose.jpg lies in no folder"),
    ],
)
def test_sets_that_nothing_can_be_learned_from_are_refused(tmp_path, names, message):
    with pytest.raises(ReidEdgeError, match=message):
        open_training_set(write_images(tmp_path, *names))


def test_places_that_are_no_training_folder_are_refused(tmp_path):
    with pytest.raises(ReidEdgeError, match="No training folder"):
        open_training_set(tmp_path / "absent")
    with pytest.raises(ReidEdgeError, match="No images"):
        open_training_set(tmp_path)
    with pytest.raises(ReidEdgeError, match="got 'market'"):
        open_training_set(tmp_path, layout="market")
    (tmp_path / "cuhk-03.mat").write_bytes(b"")
    for root in (tmp_path, tmp_path / "cuhk-03.mat"):
        with pytest.raises(ReidEdgeError, match="extract it first"):
            open_training_set(root)


def test_limit_identities(tmp_path):
    names = [f"{who}/{i}.jpg" for who in "abc" for i in range(2)]
    found = open_training_set(write_images(tmp_path, *names))
    limited = limit_identities(found, 2)
    assert limited.crops == found.crops[:4]
    assert limited.left_out == {"of identities beyond the first 2": 2}
    assert limit_identities(found, 3) is found
    assert limit_identities(found, 99) is found
    with pytest.raises(ReidEdgeError, match="limit of 1"):
        limit_identities(found, 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(2, 5), min_size=2, max_size=8), st.integers(2, 10))
def test_a_limited_set_is_the_beginning_of_the_whole(counts, limit):
    crops = [
        TrainingCrop(f"{i}", person, str(person))
        for i, person in enumerate(p for p, count in enumerate(counts) for _ in range(count))
    ]
    limited = limit_identities(TrainingSet("set", "folders", tuple(crops)), limit)
    assert limited.identities == min(limit, len(counts))
    assert len(limited.crops) == sum(counts[:limit])
    assert sum(limited.left_out.values()) == sum(counts[limit:])


def people(counts):
    """A set of people with so many images each, named a, b, c, ..."""
    crops = [
        TrainingCrop(Path(f"{name}/{i}.jpg"), person, name)
        for person, (name, count) in enumerate(zip("abcdefghijkl", counts))
        for i in range(count)
    ]
    return TrainingSet("set", "folders", tuple(crops))


def test_the_report_says_who_has_fewer_images_than_a_batch_shows():
    found = people([1, 4, 3, 1, 2, 9])
    assert found.images_per_person() == {"a": 1, "b": 4, "c": 3, "d": 1, "e": 2, "f": 9}
    line = "few images: {} of 6 people have fewer than {} images and are repeated: {}"
    assert line.format(4, 4, "a, c, d, e") in found.report(4).splitlines()
    assert line.format(2, 2, "a, d") in found.report(2).splitlines()
    assert line.format(6, 10, "a, b, c, d, e, ...") in found.report(10).splitlines()
    assert "few images" not in found.report() + people([4, 4]).report(4)


def test_people_without_pairs_are_refused_where_they_are_the_most():
    require_pairs(people([1, 1, 2, 5]))
    with pytest.raises(ReidEdgeError, match=r"^3 of 5 people in set have a single image") as error:
        require_pairs(people([1, 2, 1, 5, 1]))
    assert "(a, c, e)" in str(error.value) and "sampler.kind=uniform" in str(error.value)


def test_market1501(shared):
    found = open_training_set(shared / "data/market1501")
    assert (found.name, found.layout, found.problems) == ("market1501", "market1501", ())
    assert (len(found.crops), found.identities) == (12936, 751)
    assert found.cameras == (1, 2, 3, 4, 5, 6)
    assert {crop.person for crop in found.crops} == set(range(751))
    assert found.record()["images_per_identity"]["max"] == 72
    assert unreadable_images(limit_identities(found, 20).crops, Bar) == {}
    for folder in ("query", "bounding_box_test"):
        with pytest.raises(ReidEdgeError, match="test crops"):
            open_training_set(shared / "data/market1501" / folder)

"""Choosing crops: seeded, spread, without duplicates and broken files."""

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.layouts import Crop, training_crops
from calibration.selection import POOL_FACTOR, SELECTIONS, select_crops
from runtime.errors import ReidEdgeError


def picture(seed):
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (12, 7, 3), np.uint8), (32, 64))


def embed(images):
    """Mean colour of four stripes: a stand-in for a network."""
    return np.array([cv2.resize(i, (1, 4), interpolation=cv2.INTER_AREA).ravel() for i in images])


@pytest.fixture
def folder(tmp_path):
    """Persons 1..6; person p has 2 p crops over cameras 1..3, camera 1 the most."""
    number = 0
    for person in range(1, 7):
        for shot in range(2 * person):
            camera = 1 if shot % 2 else 1 + shot // 2 % 3
            name = f"{person:04d}_c{camera}s1_{number:06d}_00.png"
            cv2.imwrite(str(tmp_path / name), picture(number))
            number += 1
    return tmp_path


def select(folder, count, method, **more):
    crops, _ = training_crops(folder)
    return select_crops(crops, count, root=folder, method=method, embed=embed, **more)


@pytest.mark.parametrize("method", SELECTIONS)
def test_the_seed_decides_everything(folder, method):
    first, second = (select(folder, 8, method, seed=3).record() for _ in range(2))
    assert first == second
    assert first["files"] != select(folder, 8, method, seed=4).record()["files"]


@pytest.mark.parametrize("method", SELECTIONS)
def test_the_record_is_json_and_relative_to_the_root(folder, method):
    selection = select(folder, 8, method)
    record = json.loads(json.dumps(selection.record()))
    assert record["chosen"] == len(set(record["files"])) == 8
    assert record["found"] == 42 and record["requested"] == 8
    assert all((folder / name).is_file() for name in record["files"])
    assert str(folder) not in json.dumps(record)


@pytest.mark.parametrize("method", SELECTIONS)
def test_asking_for_more_than_there_are_gives_all(folder, method):
    selection = select(folder, 1000, method)
    assert len(set(selection.crops)) == selection.examined == 42
    assert selection.requested == 1000


def test_identity_takes_turns_over_persons_then_cameras(folder):
    for rounds in (1, 2):
        persons = Counter(c.person_id for c in select(folder, 6 * rounds, "identity").crops)
        assert persons == {person: rounds for person in range(1, 7)}
    cameras = Counter(c.camera_id for c in select(folder, 12, "identity").crops)
    assert min(cameras.values()) >= 3  # camera 1 has 70 % of the crops


def test_coverage_keeps_even_shares_of_persons(folder):
    persons = Counter(c.person_id for c in select(folder, 6, "coverage").crops)
    assert max(persons.values()) == 1


def test_only_as_many_files_are_opened_as_needed(folder):
    assert select(folder, 5, "random").examined == 5
    assert select(folder, 5, "coverage").examined == 5 * POOL_FACTOR


def test_duplicates_are_passed_over_and_counted(folder):
    original = next(folder.iterdir())
    (folder / "0001_c1s1_900000_00.png").write_bytes(original.read_bytes())
    image = cv2.imread(str(original))
    cv2.imwrite(str(folder / "0001_c1s1_900001_00.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    selection = select(folder, 1000, "random")
    assert len(selection.crops) == 42
    # Which of the three comes first depends on the seed, and with it what the others are called.
    assert selection.exact_duplicates + selection.near_duplicates == 2


@pytest.mark.parametrize("method", SELECTIONS)
def test_unreadable_files_are_named_and_replaced(folder, method):
    bad = ["0001_c1s1_800000_00.png", "0002_c1s1_800001_00.png"]
    (folder / bad[0]).write_bytes(b"")
    (folder / bad[1]).write_bytes(b"no picture")
    selection = select(folder, 1000, method)
    assert sorted(selection.unreadable) == bad and len(selection.crops) == 42


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(ReidEdgeError, match="None of the 1"):
        select(tmp_path, 5, "random")


def test_the_digest_follows_the_contents(folder):
    before = select(folder, 1000, "random")
    cv2.imwrite(str(before.crops[0].path), picture(12345))
    assert select(folder, 1000, "random").sha256 != before.sha256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "best"}, "best"),
        ({"method": "random", "count": 0}, "at least 1"),
        ({"method": "coverage", "embed": None}, "embed"),
        ({"method": "random", "crops": [Crop(Path("/elsewhere/a.jpg"))]}, "outside"),
    ],
)
def test_bad_requests_are_refused(folder, arguments, message):
    request = {"crops": training_crops(folder)[0], "count": 3, "root": folder, **arguments}
    with pytest.raises(ReidEdgeError, match=message):
        select_crops(**request)


def test_market1501_spreads_over_identities_and_cameras(shared):
    root = shared / "data/market1501"
    crops, _ = training_crops(root)
    chosen = select_crops(crops, 256, root=root, method="identity", seed=1)
    assert len({c.person_id for c in chosen.crops}) == 256
    cameras = Counter(c.camera_id for c in chosen.crops)
    assert max(cameras.values()) - min(cameras.values()) <= 2  # camera 6 has 25 %, camera 4 7 %
    covered = select_crops(crops, 64, root=root, method="coverage", seed=1, embed=embed)
    assert max(Counter(c.camera_id for c in covered.crops).values()) <= 14
    assert covered.examined <= 64 * 4 + 20

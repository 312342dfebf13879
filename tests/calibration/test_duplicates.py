"""Exact and near duplicates."""

import cv2
import numpy as np

from calibration.duplicates import DuplicateFilter, difference_hash


def person(seed, height=128, width=64):
    """A smooth random picture: structure survives resizing and compression."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 7, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(image, quality=95):
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def distance(a, b):
    return np.unpackbits(difference_hash(a) ^ difference_hash(b)).sum()


def test_same_bytes_count_as_exact_and_reencoded_ones_as_near():
    duplicates, image = DuplicateFilter(), person(0)
    assert len(duplicates.admit(encoded(image), image)) == 64
    assert duplicates.admit(encoded(image), image) is None
    assert (duplicates.exact, duplicates.near) == (1, 0)
    for content in (encoded(image, 60), encoded(cv2.resize(image, (96, 192)))):
        again = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert duplicates.admit(content, again) is None
    assert (duplicates.exact, duplicates.near) == (1, 2)


def test_different_pictures_all_pass():
    duplicates = DuplicateFilter()
    for seed in range(200):  # beyond the filter's first allocation
        assert duplicates.admit(b"%d" % seed, person(seed))
    assert (duplicates.exact, duplicates.near) == (0, 0)
    assert duplicates.admit(b"again", person(199)) is None


def test_hash_ignores_exposure_but_not_content():
    darker = (person(3) * 0.8).astype(np.uint8)
    assert distance(person(3), darker) <= 2
    assert distance(person(3), person(4)) > 10


def test_real_neighbours_of_one_track_pass(shared):
    train = shared / "data/market1501/bounding_box_train"
    paths = sorted(train.iterdir())[:60]
    duplicates = DuplicateFilter()
    for path in paths:
        duplicates.admit(path.read_bytes(), cv2.imread(str(path)))
    assert duplicates.exact == 0 and duplicates.near <= 3

"""The recipe `finetune` on real people: far better on a new camera, and never worse unnoticed."""

from __future__ import annotations

import random
from collections import defaultdict

import cv2
import numpy as np
import pytest

from training.cli import main
from training.run_folder import RunFolder

PEOPLE, OTHERS = 24, 30


def as_seen(path):
    """The image file as it is."""
    return cv2.imread(str(path))


def dimly(path):
    """As a dim, coarse, bluish, noisy camera would see it."""
    image = as_seen(path)
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // 3, height // 3), interpolation=cv2.INTER_AREA)
    light = (cv2.resize(small, (width, height)) / 255.0) ** 1.8 * (1.0, 0.75, 0.6)
    noise = np.random.default_rng(len(path.name)).normal(0, 0.03, image.shape)
    return ((light + noise).clip(0, 1) * 255).astype(np.uint8)


def write_split(shared, root, camera):
    """Some people of the test set to tune on, others to judge on; the default saw none of them."""
    found = defaultdict(list)
    for part in ("query", "bounding_box_test"):
        for path in sorted((shared / "data" / "market1501" / part).glob("*.jpg")):
            if not path.name.startswith(("-1", "0000")):
                found[path.name[:4]].append((part, path))
    people = sorted(found)
    random.Random(7).shuffle(people)
    for number, person in enumerate(people[: PEOPLE + OTHERS]):
        for part, path in found[person]:
            to = root / ("people" if number < PEOPLE else "others")
            to /= person if number < PEOPLE else part
            to.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(to / path.name), camera(path))


@pytest.mark.slow
@pytest.mark.parametrize(("camera", "epochs", "gain"), [(as_seen, 2, -1.5), (dimly, 4, 20.0)])
def test_other_people_of_the_camera_are_told_apart(
    shared, tmp_path, one_thread, capfd, camera, epochs, gain
):
    """Judged on people who were not tuned on; a fixed seed. Few epochs are short, so where the
    default network knows the camera they may cost a little; then the best network is the start."""
    write_split(shared, tmp_path, camera)
    sets = [f"schedule.epochs={epochs}", "schedule.warmup_epochs=0.5", "data.workers=0"]
    assert main([
        "--recipe", "finetune", "--init", "default", "--data", str(tmp_path / "people"),
        "--eval", str(tmp_path / "others"), "--out", str(tmp_path / "run"), "--threads", "1",
        "--device", "cpu", *(part for value in sets for part in ("--set", value)),
    ]) == 0  # fmt: skip
    printed = capfd.readouterr().out
    record = RunFolder(tmp_path / "run").stored_record()
    print(f"{camera.__name__}: mAP {record['start']['mAP']:.2f} -> {record['last']['mAP']:.2f}")
    start, last = record["start"]["mAP"], record["last"]["mAP"]
    assert last > start + gain
    assert record["best_mAP"] == max(start, last)
    assert ("the start itself" in printed) == (last <= start)

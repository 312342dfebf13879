"""``reid-train data --check``: the report, every problem by name, and the exit status."""

import json
import shutil

import pytest

from tests.training.small_data import write_images
from training.cli import main


@pytest.fixture
def root(tmp_path):
    """Three people of three cameras; five, two and five images."""
    names = [f"anna/1_c{c}_{i}.jpg" for c, i in ((1, 1), (1, 2), (2, 3), (2, 4), (3, 5))]
    names += ["ben/2_c1_1.jpg", "ben/2_c2_2.jpg", *(f"zoe/3_c3_{i}.jpg" for i in range(5))]
    return write_images(tmp_path / "own", *names)


def check(capfd, root, *given):
    status = main(["data", "--check", str(root), "--layout", "folders", *given])
    printed = capfd.readouterr()
    return status, printed.out, printed.err


def test_a_good_folder(root, capfd):
    status, printed, said = check(capfd, root)
    assert (status, said) == (0, "")
    assert printed.splitlines() == [
        "own (folders): 12 images of 3 identities, 3 cameras",
        "images per identity: 2 to 5, median 5",
        "few images: 1 of 3 people have fewer than 4 images and are repeated: ben",
        "images per camera: 1: 3, 2: 3, 3: 6",
        "no problems",
    ]


def test_every_problem_is_printed(root, capfd):
    (root / "anna/1_c1_1.jpg").write_bytes(b"cut")
    shutil.copy(root / "ben/2_c1_1.jpg", root / "zoe/3_c3_9.jpg")
    for i in range(8):
        (root / f"zoe/{i}.heic").write_bytes(b"photo")
    status, printed, _ = check(capfd, root)
    lines = printed.splitlines()
    assert status == 3 and "problems: 10" in lines
    named = lines[lines.index("problems: 10") + 1 :]
    assert len(named) == 10
    for part in (*(f"zoe/{i}.heic" for i in range(8)), "1_c1_1.jpg is not an", "under 2 people"):
        assert any(part in line for line in named), part


def test_as_json(root, capfd):
    (root / "anna/1_c1_1.jpg").write_bytes(b"cut")
    status, printed, _ = check(capfd, root, "--json", "--images", "5")
    facts = json.loads(printed)
    assert status == 3 and len(facts["problems"]) == 1
    assert (facts["images"], facts["identities"]) == (11, 3)
    assert facts["images_per_camera"] == {"1": 2, "2": 3, "3": 6}
    assert facts["people_with_fewer_images"] == {"anna": 4, "ben": 2}
    assert facts["fewer_images_than"] == 5


def test_what_a_run_would_refuse_is_a_problem(root, capfd):
    for name in ("1_c1_2", "1_c2_3", "1_c2_4", "1_c3_5"):
        (root / f"anna/{name}.jpg").unlink()
    (root / "ben/2_c2_2.jpg").unlink()
    write_images(root, "cleo/4_c1_1.jpg", "dan/5_c1_1.jpg", "dan/5_c1_2.jpg")
    status, printed, _ = check(capfd, root)
    assert status == 3 and "3 of 5 people in own have a single image (anna, ben, cleo)" in printed
    assert check(capfd, root, "--images", "1")[0] == 0


def test_nothing_readable_is_left(root, capfd):
    for path in root.glob("[ab]*/*.jpg"):
        path.write_bytes(b"cut")
    status, printed, _ = check(capfd, root)
    assert status == 3 and "at least 2 identities, got 1" in printed
    assert sum("is not an image" in line for line in printed.splitlines()) >= 7


def test_mistakes_are_one_sentence(root, capfd):
    status, printed, said = check(capfd, root / "absent")
    assert (status, printed) == (2, "")
    assert said.startswith("reid-train data: No training folder") and said.count("\n") == 1
    with pytest.raises(SystemExit) as error:
        check(capfd, root, "--images", "0")
    assert error.value.code == 2 and "expected a number from 1, got '0'" in capfd.readouterr().err
    assert main(["data", f"--check={root}"]) == 2
    assert "by its name but anna by its folder" in capfd.readouterr().err

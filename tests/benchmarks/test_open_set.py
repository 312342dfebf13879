"""The command that finds the lock's thresholds, on made-up and on real looks."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.datasets import RetrievalSet, open_retrieval_set
from benchmarks.open_set import (
    LEARNED,
    OTHERS,
    STRANGERS,
    embed_all,
    halves,
    looks,
    main,
    tracklets,
)
from calibration.layouts import Crop
from runtime.bundle import BundleWriter
from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError
from runtime.manifest import Manifest
from runtime.memory import TargetMemory
from runtime.open_set import calibrate_threshold
from tests.benchmarks.tiny_onnx import linear_model
from tests.runtime.real_osnet import real_osnet
from tests.runtime.scenarios import split_identities

# -- which crops ---------------------------------------------------------------------------------


def crops(person, camera, *names):
    return [Crop(Path("folder%d" % (i % 2)) / name, person, camera) for i, name in enumerate(names)]


def retrieval_set(query, gallery, cameras="from names"):
    return RetrievalSet("set", query, gallery, "market", cameras, 0)


def test_crops_of_each_person_and_camera_in_order():
    query = crops(1, 1, "b") + crops(2, 1, "x", "w")
    gallery = crops(1, 1, "c", "a") + crops(1, 2, "d") + crops(2, 1, "v") + crops(0, 1, *"ghijk")
    kept = tracklets(retrieval_set(query, gallery), [1, 2], least=3)
    names = {key: [path.name for path in paths] for key, paths in kept.items()}
    assert names == {(1, 1): ["a", "b", "c"], (2, 1): ["v", "w", "x"]}


def test_a_query_that_is_in_the_gallery_too_counts_once():
    gallery = crops(1, 1, "a", "b") + crops(2, 1, "c", "d")
    kept = tracklets(retrieval_set(gallery[:1], gallery), {1, 2}, least=2)
    assert [len(paths) for paths in kept.values()] == [2, 2]
    with pytest.raises(ReidEdgeError, match="two of the 2 people"):
        tracklets(retrieval_set(gallery[:1], gallery), {1, 2}, least=3)


def test_two_people_in_one_camera_are_needed():
    gallery = crops(1, 1, "a", "b") + crops(2, 2, "c", "d")
    found = retrieval_set(gallery, gallery, cameras="unknown")
    with pytest.raises(ReidEdgeError, match=r"at least 2 crops each .* set .* cameras are unknown"):
        tracklets(found, [1, 2], least=2)


def test_halves_are_the_same_whatever_order_people_come_in():
    people = list(range(3, 30))
    first, second = halves(people)
    assert sorted(first + second) == people and (len(first), len(second)) == (13, 14)
    assert halves([*people[::-1], *people]) == (first, second)
    assert halves(people, seed=6)[0] != first


def test_the_half_for_thresholds_is_not_the_half_that_is_judged(shared):
    """The scenarios of the lock's test are composed of the other half."""
    folder = shared / "data" / "market1501"
    queried = [crop.person_id for crop in open_retrieval_set(folder).query]
    assert halves(queried) == split_identities(folder)


def test_embeddings_are_those_of_the_images_in_order(tmp_path):
    paths = [tmp_path / ("%d.png" % i) for i in range(7)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((4, 3, 3), 10 * i, np.uint8))
    sizes = []

    def embed(images):
        sizes.append(len(images))
        return np.array([[image.mean()] for image in images])

    found = embed_all({(1, 1): paths[:5], (2, 1): paths[5:]}, embed, batch=2)
    assert {key: rows.ravel().tolist() for key, rows in found.items()} == {
        (1, 1): [0, 10, 20, 30, 40],
        (2, 1): [50, 60],
    }
    assert sizes == [2, 2, 1, 2]


# -- similarities --------------------------------------------------------------------------------


def unit(seed, count, dim=24):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_who_is_alone_in_a_camera_gives_nothing_and_two_people_give_each_other():
    embeddings = {(1, 1): unit(1, 6), (2, 1): unit(2, 5), (3, 2): unit(3, 9)}
    prior = unit(99, 4)
    genuine, impostor = looks(embeddings, prior)
    expected = ([], [])
    for person, other in ((1, 2), (2, 1)):
        own, strangers = embeddings[person, 1], embeddings[other, 1]
        learned = own[: len(own) // 2]
        # What a scene has in common is the moving average of the target and the prior, 1 : 2.
        look = learned[0]
        for row in learned[1:]:
            look = 0.8 * look + 0.2 * row
        mean = (look + 2 * prior.mean(axis=0)) / 3
        left = [v - mean for v in (learned, own[len(learned) :], strangers)]
        memory, later, new = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in left)
        expected[0].append((later @ memory.T).max(axis=1))
        expected[1].append((new @ memory.T).max(axis=1))
    # The mean follows in steps of 0.02.
    np.testing.assert_allclose(genuine, np.concatenate(expected[0]), atol=0.06)
    np.testing.assert_allclose(impostor, np.concatenate(expected[1]), atol=0.06)


def test_strangers_are_neither_the_target_nor_in_its_scene(monkeypatch):
    """Each target is measured with each number of others, and with nobody it shares a scene with."""
    asked = []
    known = TargetMemory.similarity

    def similarity(self, rows, scene=None):
        asked.append((rows, scene))
        return known(self, rows, scene)

    monkeypatch.setattr(TargetMemory, "similarity", similarity)
    people = {(person, 1): unit(person, 4) for person in range(1, 11)}
    genuine, impostor = looks(people, unit(99, 4))
    rounds = [(asked[i], asked[i + 1]) for i in range(0, len(asked), 2)]
    assert len(rounds) == len(people) * len(OTHERS)
    first_look = {people[key][0].tobytes(): key for key in people}
    for number, ((own, scene), (new, same_scene)) in enumerate(rounds):
        target = list(people)[number // len(OTHERS)]
        others = OTHERS[number % len(OTHERS)]
        np.testing.assert_array_equal(own, people[target][2:])  # two of four were learned
        assert scene is same_scene and len(scene) == 1 + others
        present = {first_look[look.tobytes()] for i, look in scene._looks.items() if i > 0}
        came = {first_look[row.tobytes()] for row in new[::4]}
        assert len(present) == others and len(came) == len(people) - 1 - others
        assert not (came & present or target in came or target in present)
    assert len(genuine) == len(rounds) * 2 and len(impostor) == 10 * 4 * (9 + 8 + 6 + 2)


def test_how_much_is_learned_and_compared():
    two = {(1, 1): unit(1, 2 * LEARNED + 5), (2, 1): unit(2, 3)}
    genuine, impostor = looks(two, unit(99, 4))
    # All but 8, and all but half of 3; each is compared with all crops of the other.
    assert (len(genuine), len(impostor)) == (LEARNED + 5 + 2, 3 + 2 * LEARNED + 5)
    many = {(person, 1): unit(person, 2) for person in range(80)}
    genuine, impostor = looks(many, unit(99, 4))
    assert len(genuine) == 80 * len(OTHERS) and len(impostor) == 80 * len(OTHERS) * STRANGERS * 2


def test_a_seed_gives_the_same_and_another_other_scenes():
    people = {(person, 1): unit(person, 4) for person in range(1, 11)}
    first, again, other = (looks(people, unit(99, 4), seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_nobody_to_compare_with_is_refused():
    for alone in ({}, {(1, 1): unit(1, 9)}, {(1, 1): unit(1, 1), (2, 1): unit(2, 1)}):
        with pytest.raises(ReidEdgeError, match="two people in one camera"):
            looks(alone, unit(99, 4))


# -- the command ---------------------------------------------------------------------------------

HEIGHT, WIDTH = 8, 8


def write_bundle(path, golden=True):
    """A network that is the identity on pixels: people are told apart by the colours of 64 cells."""
    model = linear_model(np.eye(3 * HEIGHT * WIDTH), HEIGHT, WIDTH)
    with BundleWriter(path, force=True) as writer:
        writer.file("model.fp32.onnx", "model.fp32").write_bytes(model)
        if golden:
            inputs = np.random.RandomState(0).randn(5, 3, HEIGHT, WIDTH).astype(np.float32)
            arrays = {"inputs": inputs, "embedding_fp32": inputs.reshape(5, -1)}
            np.savez(str(writer.file("golden.npz", "golden")), **arrays)
        writer.finish(
            Manifest(
                name="pixels",
                target="cpu",
                precision="fp32",
                network={"family": "resnet", "arch": "pixels", "trained": False},
                input=InputContract(height=HEIGHT, width=WIDTH),
                embedding=EmbeddingContract(dim=3 * HEIGHT * WIDTH),
                batch={"min": 1, "opt": 4, "max": 16},
                files=writer.entries(),
                created_utc="2026-01-02T03:04:05+00:00",
            )
        )
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("pixels") / "bundle")


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Eight people in two cameras, seven crops each: a pattern of their own and some noise."""
    root = tmp_path_factory.mktemp("sets") / "drawn"
    rng = np.random.RandomState(0)
    for part in ("query", "bounding_box_test"):
        (root / part).mkdir(parents=True)
    for person in range(1, 9):
        look = rng.randint(60, 196, (HEIGHT, WIDTH, 3))
        for camera in (1, 2):
            for number in range(7):
                crop = np.clip(look + rng.normal(0, 12, look.shape), 0, 255).astype(np.uint8)
                part = "query" if number == 3 else "bounding_box_test"
                name = "%04d_c%ds1_%06d_00.png" % (person, camera, number)
                cv2.imwrite(str(root / part / name), crop)
    return root


def run(bundle, market, *options):
    return main(["--bundle", str(bundle), "--data", str(market), *options])


def test_the_command_by_json(bundle, market, capsys):
    assert run(bundle, market, "--all", "--rate", "0.1", "--rate", "0.01", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["data"], record["bundle"], record["people"]) == ("drawn", "pixels", 8)
    loose, strict = record["thresholds"]
    # 16 targets with 0, 1, 3 and, of 7 there, not 7 others; 4 of 7 crops are judged.
    assert strict["genuine_pairs"] == 16 * 3 * 4
    assert strict["impostor_pairs"] == 16 * (7 + 6 + 4) * 7
    assert loose["false_accept_rate"] <= 0.1 and strict["false_accept_rate"] <= 0.01
    assert loose["similarity"] < strict["similarity"] < 0.8
    assert strict["false_reject_rate"] == 0  # patterns are far apart


def test_the_command_by_text_on_half_of_the_people(bundle, market, capsys):
    assert run(bundle, market, "--rate", "0.1") == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head == "4 people, %d genuine and %d impostor looks" % (8 * 2 * 4, 8 * (3 + 2) * 7)
    assert line.startswith("similarity above 0.") and "false rejects 0.000" in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "0"], "each --rate between 0 and 1, got 1 and 0"),
        (["--rate", "0.1", "--rate", "nan"], "got 1 and 0.1, nan"),
        (["--threads", "0"], "--threads must be at least 1 .* got 0"),
        ([], "0.001 needs at least 1000 pairs .* got 280 and 64"),
        (["--data", "nowhere"], "No evaluation folder nowhere"),
        (["--bundle", "nowhere"], "nowhere is not a bundle"),
    ],
)
def test_mistakes_are_one_sentence(bundle, market, capsys, options, said):
    assert run(bundle, market, *options) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert re.search(said, shown.err)


def test_a_bundle_without_golden_embeddings_and_a_broken_image(bundle, market, tmp_path, capsys):
    bare = write_bundle(tmp_path / "bare", golden=False)
    assert run(bare, market, "--rate", "0.1") == 2
    assert "no golden embeddings" in capsys.readouterr().err
    broken = tmp_path / "broken"
    for part in ("query", "bounding_box_test"):
        (broken / part).mkdir(parents=True)
        for path in (market / part).iterdir():
            (broken / part / path.name).write_bytes(path.read_bytes())
    for path in (broken / "query").glob("*_c1s1_*"):
        path.write_bytes(b"no image")
    assert run(bundle, broken, "--rate", "0.1") == 2
    assert "is not an image that OpenCV can decode" in capsys.readouterr().err


@pytest.mark.slow
def test_thresholds_of_osnet_on_real_people(shared):
    """As the command finds them with a bundle whose golden crops are real, of the training set."""
    embed = real_osnet(shared)
    folder = shared / "data" / "market1501"
    train = sorted((folder / "bounding_box_train").iterdir())
    prior = embed([cv2.imread(str(path)) for path in train[::400]])
    found = open_retrieval_set(folder)
    people = halves([crop.person_id for crop in found.query])[0][:60]
    genuine, impostor = looks(embed_all(tracklets(found, people), embed), prior)
    assert len(genuine) > 1000 and len(impostor) > 30000
    # The command says 0.49 and 0.17 for the whole half.
    limit = calibrate_threshold(genuine, impostor, 1e-3)
    assert 0.4 < limit.similarity < 0.55 and limit.false_reject_rate < 0.22

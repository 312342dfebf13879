"""From image files to an accuracy report, on crops drawn here, and once on real ones."""

import json
import logging
import threading

import cv2
import numpy as np
import pytest

from benchmarks.accuracy import embed_crops, embed_set, measure_accuracy
from benchmarks.datasets import open_retrieval_set
from calibration.layouts import Crop
from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess, read_image

CONTRACT = InputContract(height=16, width=8)
EMBEDDING = EmbeddingContract(dim=3)


def mean_color(pixels):
    """A network good enough for people in plain clothes: the mean colour."""
    return pixels.mean(axis=(2, 3))


def first_channel_only(pixels):
    """A worse network: it confuses people whose red is alike."""
    return mean_color(pixels) * np.array([1.0, 0.0, 0.0]) + np.array([0.0, 0.5, 0.5])


@pytest.fixture
def market(tmp_path):
    """Six people, two cameras, three images each, in the Market-1501 layout."""
    rng = np.random.default_rng(0)
    for person in range(1, 7):
        color = rng.integers(30, 225, 3)
        for camera in (1, 2):
            for i in range(3):
                part = "query" if i == 0 else "bounding_box_test"
                path = tmp_path / part / f"{person:04d}_c{camera}s1_{i:06d}_00.png"
                path.parent.mkdir(exist_ok=True)
                pixels = np.clip(color + rng.integers(-25, 26, (24, 12, 3)), 0, 255)
                assert cv2.imwrite(str(path), pixels.astype(np.uint8))
    return open_retrieval_set(tmp_path)


def test_embeddings_are_those_of_the_preprocessed_crops_in_order(market):
    sizes = []

    def run(pixels):
        assert pixels.dtype == np.float32
        sizes.append(len(pixels))
        return mean_color(pixels)

    got = embed_crops(run, market.gallery, CONTRACT, batch=5, progress=False)
    expected = mean_color(preprocess([read_image(c.path) for c in market.gallery], CONTRACT))
    np.testing.assert_array_equal(got.features["features"], expected)
    assert sizes == [5, 5, 5, 5, 4]
    assert got.kept.tolist() == list(range(24))
    assert got.unreadable == []


def test_several_batches_at_once_give_the_same(market):
    running, most, lock = [0], [0], threading.Lock()
    together = threading.Barrier(3, timeout=60)

    def run(pixels):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        if len(pixels) == 4:
            together.wait()
        with lock:
            running[0] -= 1
        return mean_color(pixels)

    done = []
    got = embed_set(
        {"a": run},
        market.gallery,
        CONTRACT,
        batch=4,
        progress=False,
        workers=3,
        advance=done.append,
    )
    assert most[0] == 3 and sum(done) == 24
    expected = mean_color(preprocess([read_image(c.path) for c in market.gallery], CONTRACT))
    np.testing.assert_array_equal(got.features["a"], expected)
    assert got.kept.tolist() == list(range(24))


def test_a_failure_in_one_of_several_batches_stops_the_run(market):
    def run(pixels):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        embed_set({"a": run}, market.gallery, CONTRACT, batch=2, progress=False, workers=4)
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_several_networks_share_one_pass_over_the_images(market, monkeypatch):
    decoded, lock = [], threading.Lock()

    def counting_read(path):
        with lock:
            decoded.append(path)
        return read_image(path)

    monkeypatch.setattr("benchmarks.accuracy.read_image", counting_read)
    runners = {"a": mean_color, "b": lambda pixels: 2 * mean_color(pixels)}
    got = embed_set(runners, market.gallery, CONTRACT, batch=7, progress=False)
    assert sorted(decoded) == sorted(crop.path for crop in market.gallery)
    np.testing.assert_array_equal(got.features["b"], 2 * got.features["a"])


def test_a_runner_may_see_the_images_otherwise(market, monkeypatch):
    """Decoded once, transformed once for those that share a transform, plain for the others."""
    decoded, changed, lock = [], [], threading.Lock()

    def counting_read(path):
        with lock:
            decoded.append(path)
        return read_image(path)

    def darker(crop):
        with lock:
            changed.append(crop.shape)
        return crop // 2

    monkeypatch.setattr("benchmarks.accuracy.read_image", counting_read)
    runners = {"plain": mean_color, "dark": mean_color, "dark too": lambda x: 2 * mean_color(x)}
    got = embed_set(
        runners, market.gallery, CONTRACT, batch=7, progress=False,
        transforms={"dark": darker, "dark too": darker},
    )  # fmt: skip
    assert len(decoded) == len(changed) == 24
    assert set(changed) == {(24, 12, 3)}, "before the resize"
    crops = [read_image(c.path) for c in market.gallery]
    expected = {
        "plain": mean_color(preprocess(crops, CONTRACT)),
        "dark": mean_color(preprocess([c // 2 for c in crops], CONTRACT)),
    }
    for name, features in expected.items():
        np.testing.assert_array_equal(got.features[name], features)
    np.testing.assert_array_equal(got.features["dark too"], 2 * got.features["dark"])


def test_a_report_on_networks_that_see_the_images_otherwise(market):
    def noise(crop):
        return crop % 8  # the low bits know nobody's clothes

    runners = {"colour": mean_color, "noise": mean_color}
    report = measure_accuracy(
        runners, market, CONTRACT, EMBEDDING, progress=False, transforms={"noise": noise}
    )
    alone = measure_accuracy({"colour": mean_color}, market, CONTRACT, EMBEDDING, progress=False)
    np.testing.assert_array_equal(report.results["colour"].ap, alone.results["colour"].ap)
    assert report.results["noise"].mAP < report.results["colour"].mAP


def test_a_transform_without_its_network_is_refused(market):
    with pytest.raises(
        ReidEdgeError, match=r"given for \['int8'\], but the networks are \['fp32'\]"
    ):
        measure_accuracy(
            {"fp32": mean_color}, market, CONTRACT, EMBEDDING, progress=False,
            transforms={"int8": lambda crop: crop},
        )  # fmt: skip


def test_a_failing_transform_stops_the_run(market):
    def refuse(crop):
        raise ReidEdgeError("odd size")

    with pytest.raises(ReidEdgeError, match="odd size"):
        embed_set(
            {"a": mean_color}, market.gallery, CONTRACT, progress=False, transforms={"a": refuse}
        )


def test_a_runner_may_reuse_its_output_buffer(market):
    buffer = np.empty((4, 3), np.float32)

    def run(pixels):
        buffer[: len(pixels)] = mean_color(pixels)
        return buffer[: len(pixels)]

    got = embed_crops(run, market.gallery, CONTRACT, batch=4, progress=False)
    expected = embed_crops(mean_color, market.gallery, CONTRACT, progress=False)
    np.testing.assert_allclose(got.features["features"], expected.features["features"], rtol=1e-5)


def test_unreadable_images_are_skipped_named_and_counted(market, caplog):
    broken = [market.gallery[1].path, market.gallery[4].path]
    broken[0].write_bytes(b"not an image")
    broken[1].write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        report = measure_accuracy(
            {"fp32": mean_color}, market, CONTRACT, EMBEDDING, batch=4, progress=False
        )
    assert "2 of 36 images skipped" in caplog.text
    unreadable = report.to_dict()["dataset"]["unreadable"]
    assert len(unreadable) == 2
    assert all(str(path) in sentence for path, sentence in zip(broken, unreadable))
    # The figure is that of the set without those two crops.
    for path in broken:
        path.unlink()
    clean = measure_accuracy(
        {"fp32": mean_color}, open_retrieval_set(broken[0].parent.parent), CONTRACT, EMBEDDING,
        progress=False,
    )  # fmt: skip
    np.testing.assert_array_equal(report.results["fp32"].ap, clean.results["fp32"].ap)


def test_a_set_without_a_readable_image_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    crops = [Crop(tmp_path / "a.jpg", 1, 1)]
    with pytest.raises(ReidEdgeError, match=r"None of the 1 images .*a\.jpg"):
        embed_crops(mean_color, crops, CONTRACT, progress=False)


def test_the_report_compares_each_network_with_the_first(market):
    runners = {"fp32": mean_color, "int8": first_channel_only}
    report = measure_accuracy(
        runners, market, CONTRACT, EMBEDDING, progress=False, resamples=200, seed=7
    )
    data = report.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert set(data) == {"fp32", "int8", "dataset", "bootstrap"}
    assert set(data["fp32"]) == {"mAP", "rank1", "rank5", "rank10", "mINP"}
    assert data["fp32"]["mAP"] > data["int8"]["mAP"]
    for metric in ("mAP", "rank1"):
        drop = data["int8"][f"{metric}_drop"]
        low, high = data["int8"][f"{metric}_drop_interval"]
        assert drop == pytest.approx(data["fp32"][metric] - data["int8"][metric])
        assert low <= drop <= high
    assert data["bootstrap"] == {"level": 0.95, "resamples": 200, "seed": 7, "n_queries": 12}
    assert data["dataset"]["queries"] == data["dataset"]["evaluated_queries"] == 12
    assert data["dataset"]["gallery"] == 24


def test_one_network_alone_has_no_drop(market):
    data = measure_accuracy(
        {"fp32": mean_color}, market, CONTRACT, EMBEDDING, progress=False
    ).to_dict()
    assert set(data) == {"fp32", "dataset"}
    assert set(data["fp32"]) == {"mAP", "rank1", "rank5", "rank10", "mINP"}


def test_a_set_whose_queries_are_in_its_gallery_embeds_each_image_once(tmp_path):
    rng = np.random.default_rng(0)
    for person in range(3):
        (tmp_path / f"p{person}").mkdir()
        for i in range(4):
            pixels = np.full((24, 12, 3), (60 * person + 40, 90, 200 - 60 * person))
            pixels = np.clip(pixels + rng.integers(-9, 10, pixels.shape), 0, 255)
            cv2.imwrite(str(tmp_path / f"p{person}" / f"{i}.png"), pixels.astype(np.uint8))
    seen = []

    def run(pixels):
        seen.append(len(pixels))
        return mean_color(pixels)

    report = measure_accuracy(
        {"fp32": run}, open_retrieval_set(tmp_path), CONTRACT, EMBEDDING, progress=False
    )
    assert sum(seen) == 12
    assert report.results["fp32"].n_matches.tolist() == [3, 3, 3]
    assert report.results["fp32"].rank1 == 100.0


@pytest.mark.parametrize(
    ("runners", "message"),
    [
        ({}, "at least one network"),
        ({"dataset": mean_color}, "cannot be named 'dataset'"),
        ({"fp32": lambda pixels: mean_color(pixels)[:, :2]}, "2-D features, expected 3"),
        ({"fp32": lambda pixels: mean_color(pixels)[:1]}, "one feature vector per image"),
        ({"fp32": lambda pixels: pixels}, "one feature vector per image"),
        ({"fp32": lambda pixels: mean_color(pixels) * np.nan}, "NaN or infinity"),
    ],
)
def test_networks_that_do_not_fit_are_refused(market, runners, message):
    with pytest.raises(ReidEdgeError, match=message):
        measure_accuracy(runners, market, CONTRACT, EMBEDDING, progress=False)


def test_a_failing_network_stops_the_run_and_leaves_no_thread(market):
    def run(pixels):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        embed_crops(run, market.gallery, CONTRACT, batch=2, progress=False)
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_the_progress_bar_stays_away_from_pipes(market, capsys):
    embed_crops(mean_color, market.gallery, CONTRACT, progress=True)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.slow
def test_osnet_on_the_real_market_split(shared):
    """The figures that come with the weights: mAP 86.15, Rank-1 95.27 by OpenCV bilinear."""
    torch = pytest.importorskip("torch")
    checkpoint = pytest.importorskip("models.checkpoint")
    weights = shared / "weights" / "osnet_x0_25_market1501.pth"
    loaded = checkpoint.load_network(weights)
    network = loaded.network.eval()

    def run(pixels):
        with torch.inference_mode():
            return network(torch.from_numpy(pixels)).numpy()

    dataset = open_retrieval_set(shared / "data" / "market1501")
    report = measure_accuracy({"fp32": run}, dataset, loaded.input, loaded.embedding)
    result = report.results["fp32"]
    assert result.mAP == pytest.approx(86.15, abs=0.15)
    assert result.rank1 == pytest.approx(95.27, abs=0.2)
    assert result.n_skipped == 0

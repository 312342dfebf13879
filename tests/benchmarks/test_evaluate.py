"""Accuracy records: the tested metrics on the right rows, and what is compared with fp32."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy import measure_accuracy
from benchmarks.datasets import open_retrieval_set
from benchmarks.embedding_cache import embed_variants
from benchmarks.evaluate import Figures, evaluate
from benchmarks.evaluation_set import open_evaluation_set
from benchmarks.following import embeddings_by_person, open_set_figures
from benchmarks.open_set import looks
from benchmarks.single_shot import single_shot_hits
from benchmarks.variants import plan_variants
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError
from runtime.open_set import calibrate_threshold
from runtime.preprocess import l2_normalize
from tests.benchmarks.tiny_run import write_bundle, write_market

FIGURES = Figures(worst=3, resamples=200, rate=0.01)


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    """Bundle, data folder, set and embeddings of fp32 and int8."""
    root = tmp_path_factory.mktemp("rig")
    data = write_market(root / "set", people=8, crops=7, noise=35.0)
    bundle = Bundle.open(write_bundle(root / "bundle"))
    found = open_evaluation_set(data, progress=False)
    embedded = embed_variants(
        bundle, plan_variants(bundle), found, root / "cache", threads=1, progress=False
    )
    return bundle, data, found, embedded


def test_the_figures_are_those_of_the_tested_metrics(rig):
    bundle, data, found, embedded = rig
    made, notes = evaluate(found, embedded, "fp32", "Market-1501", FIGURES)
    runners = {v.name: v.open(bundle, 1).run for v in plan_variants(bundle)}
    report = measure_accuracy(
        runners, open_retrieval_set(data), bundle.manifest.input, bundle.manifest.embedding,
        progress=False, resamples=200,
    )  # fmt: skip
    assert list(made) == ["fp32", "int8"] and notes == []
    for name, result in report.results.items():
        for metric, value in result.to_dict().items():
            assert getattr(made[name], metric) == pytest.approx(value, abs=1e-6)
    drop, expected = made["int8"].drop, report.drops["int8"]
    for metric in ("mAP", "rank1", "mINP"):
        got, want = getattr(drop, metric), getattr(expected, metric)
        assert (got.points, got.low, got.high) == pytest.approx((want.points, want.low, want.high))
        value = [getattr(made[name], metric) for name in ("fp32", "int8")]
        assert got.points == pytest.approx(value[0] - value[1], abs=1e-9)
    assert made["fp32"].mAP > made["int8"].mAP, "the example must have something to lose"
    assert (made["fp32"].drop, made["fp32"].cosine, made["fp32"].worst) == (None, None, [])
    assert drop.reference == "fp32" and drop.resamples == 200


def test_cosines_to_fp32(rig):
    _, _, found, embedded = rig
    cosine = evaluate(found, embedded, "fp32", None, FIGURES)[0]["int8"].cosine
    rows = [l2_normalize(embedded[name].features) for name in ("fp32", "int8")]
    cosines = np.sum(rows[0] * rows[1], axis=1)
    assert cosine.mean == pytest.approx(cosines.mean(), abs=1e-6)
    assert cosine.minimum == pytest.approx(cosines.min(), abs=1e-6)
    assert cosine.p10 == pytest.approx(np.percentile(cosines, 10), abs=1e-6)
    assert sum(cosine.counts) == cosine.n == len(cosines)
    assert len(cosine.edges) == len(cosine.counts) + 1 and cosine.edges == sorted(cosine.edges)
    assert cosine.edges[-1] == 1.0 >= cosines.max() - 1e-6


def test_the_worst_queries_by_brute_force(rig):
    _, data, found, embedded = rig
    worst = evaluate(found, embedded, "fp32", None, FIGURES)[0]["int8"].worst
    units = {name: l2_normalize(part.features) for name, part in embedded.items()}
    row = {found.relative(crop.path): i for i, crop in enumerate(found.crops)}

    def ranked(name, query):
        """(path, right) of the gallery, nearest first, without the query's own camera."""
        entries = [
            (-float(units[name][row[found.relative(g.path)]] @ units[name][row[found.relative(query.path)]]),
             found.relative(g.path), g.person_id == query.person_id)
            for g in found.found.gallery
            if not (g.person_id == query.person_id and g.camera_id == query.camera_id)
        ]  # fmt: skip
        return [(path, right) for _, path, right in sorted(entries)]

    def average_precision(order):
        places = [i for i, (_, right) in enumerate(order, 1) if right]
        return 100 * np.mean([n / place for n, place in enumerate(places, 1)])

    losses = []
    for query in found.found.query:
        values = [average_precision(ranked(name, query)) for name in ("fp32", "int8")]
        losses.append((values[0] - values[1], found.relative(query.path), values))
    losses.sort(key=lambda item: -item[0])
    assert 0 < len(worst) <= 3 and worst[0].path == losses[0][1]
    for got, (_, path, values) in zip(worst, losses):
        assert got.path == path and (got.ap_fp32, got.ap) == pytest.approx(values)
        query = next(q for q in found.found.query if found.relative(q.path) == path)
        assert (got.person_id, got.camera_id) == (query.person_id, query.camera_id)
        for ranking, name in ((got.ranking_fp32, "fp32"), (got.ranking, "int8")):
            assert [(r.path, r.right) for r in ranking] == ranked(name, query)[:10]
            assert [r.similarity for r in ranking] == sorted(
                (r.similarity for r in ranking), reverse=True
            )
        assert (data / got.ranking[0].path).is_file()


def test_thresholds_for_following(rig):
    _, _, found, embedded = rig
    made, _ = evaluate(found, embedded, "fp32", None, FIGURES)
    for name in ("fp32", "int8"):
        part, got = embedded[name], made[name].open_set
        units = l2_normalize(part.features)
        unit_of = {crop.path: units[i] for i, crop in enumerate(found.crops)}
        people = embeddings_by_person(found.found, unit_of)
        genuine, impostor = looks(people, part.prior)
        expected = calibrate_threshold(genuine, impostor, 0.01)
        assert got.at_rate.similarity == pytest.approx(expected.similarity)
        assert got.at_rate.false_accept == pytest.approx(expected.false_accept_rate)
        assert got.at_rate.false_reject == pytest.approx(expected.false_reject_rate)
        assert (got.genuine, got.impostor, got.people) == (len(genuine), len(impostor), 8)
        for point in got.curve:
            assert point.false_accept == pytest.approx(np.mean(impostor > point.similarity))
            assert point.false_reject == pytest.approx(np.mean(genuine <= point.similarity))
        similarities = [point.similarity for point in got.curve]
        assert similarities == sorted(set(similarities))
        assert got.at_rate in got.curve and got.curve[-1].false_accept == 0.0
        assert got.curve[0].false_accept > 0.9
    fp32, int8 = made["fp32"].open_set, made["int8"].open_set
    assert fp32.threshold_shift is None and fp32.at_fp32_threshold is None
    assert int8.threshold_shift == int8.at_rate.similarity - fp32.at_rate.similarity != 0
    assert int8.at_fp32_threshold.similarity == fp32.at_rate.similarity


def test_a_threshold_from_too_few_looks_is_a_note_and_the_rest_stays(rig):
    _, _, found, embedded = rig
    made, notes = evaluate(found, embedded, "fp32", None, replace(FIGURES, rate=1e-5))
    assert made["int8"].open_set is None and made["int8"].drop is not None
    assert len(notes) == 2 and "No open-set figures of fp32 on set: " in notes[0]
    assert "at least 100000 pairs" in notes[0]


def test_without_golden_inputs_there_is_no_threshold(rig):
    _, _, found, embedded = rig
    bare = {name: part._replace(prior=None) for name, part in embedded.items()}
    made, notes = evaluate(found, bare, "fp32", None, FIGURES)
    assert made["fp32"].open_set is None and "no golden inputs" in notes[0]
    made, notes = evaluate(found, bare, "fp32", None, replace(FIGURES, open_set=False))
    assert notes == [] and made["fp32"].open_set is None


def test_without_an_fp32_variant_nothing_is_compared(rig):
    _, _, found, embedded = rig
    made, _ = evaluate(found, {"int8": embedded["int8"]}, None, None, FIGURES)
    alone = made["int8"]
    assert alone.drop is None and alone.cosine is None and alone.worst == []
    assert alone.open_set is not None and alone.open_set.threshold_shift is None


def test_cross_domain_is_said(rig):
    _, data, _, embedded = rig
    for dataset, expected in (("market1501", False), ("dukemtmc", True), (None, None)):
        found = open_evaluation_set(data, dataset, progress=False)
        made, _ = evaluate(found, embedded, "fp32", "market1501", FIGURES)
        assert made["fp32"].cross_domain is expected


def test_cuhk03s_classic_protocol_draws_one_image_per_person(rig):
    _, data, _, embedded = rig
    standard = evaluate(open_evaluation_set(data, progress=False), embedded, "fp32", None, FIGURES)[
        0
    ]
    found = open_evaluation_set(data, "cuhk03-classic", progress=False)
    made, _ = evaluate(found, embedded, "fp32", None, FIGURES)
    units = l2_normalize(embedded["int8"].features)
    row = {crop.path: i for i, crop in enumerate(found.crops)}
    sides = []
    for part in (found.found.query, found.found.gallery):
        sides += [
            units[[row[c.path] for c in part]],
            np.array([c.person_id for c in part]),
            np.array([c.camera_id for c in part]),
        ]
    hits = single_shot_hits(*sides)
    got = made["int8"]
    assert (got.rank1, got.rank5, got.rank10) == pytest.approx(100 * hits.mean(axis=0))
    assert got.rank1 != standard["int8"].rank1 and got.mAP == standard["int8"].mAP
    assert got.drop.rank1.points == pytest.approx(made["fp32"].rank1 - got.rank1)
    assert "one image drawn per person" in got.dataset.protocol


def test_unreadable_images_are_named(rig, tmp_path):
    bundle = rig[0]
    data = write_market(tmp_path / "broken", people=4, crops=4)
    path = next((data / "bounding_box_test").iterdir())
    path.write_bytes(b"no image")
    found = open_evaluation_set(data, progress=False)
    embedded = embed_variants(
        bundle, plan_variants(bundle), found, tmp_path / "cache", threads=1, progress=False
    )
    made, _ = evaluate(found, embedded, "fp32", None, replace(FIGURES, open_set=False))
    assert made["fp32"].dataset.unreadable == ["bounding_box_test/" + path.name]
    assert made["fp32"].dataset.gallery == 24, "the set as it is; one of it cannot be read"
    for path in (data / "query").iterdir():
        path.write_bytes(b"")
    found = open_evaluation_set(data, progress=False)
    embedded = embed_variants(
        bundle, plan_variants(bundle), found, tmp_path / "cache", threads=1, progress=False
    )
    with pytest.raises(ReidEdgeError, match="0 queries and 23 gallery images can be read"):
        evaluate(found, embedded, "fp32", None, FIGURES)


def test_the_fp32_threshold_on_made_up_looks():
    rng = np.random.RandomState(0)
    people = {(person, 1): l2_normalize(rng.standard_normal((8, 16))) for person in range(6)}
    prior = l2_normalize(rng.standard_normal((4, 16)))
    got = open_set_figures(people, prior, fp32_threshold=0.0, rate=0.05)
    genuine, impostor = looks(people, prior)
    assert got.at_fp32_threshold.false_accept == np.mean(impostor > 0)
    assert got.at_fp32_threshold.false_reject == np.mean(genuine <= 0)
    assert got.threshold_shift == got.at_rate.similarity

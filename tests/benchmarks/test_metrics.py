"""The vectorised metrics against the community's definition written as plain loops."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.metrics import evaluate_distances, evaluate_retrieval, rank_agreement
from runtime.errors import ReidEdgeError

ROOT = Path(__file__).resolve().parents[2]


def reference_evaluation(distances, query_ids, query_cams, gallery_ids, gallery_cams):
    """Market-1501 protocol, one query at a time: AP, CMC and INP from a sorted 0/1 list."""
    ap, first, inp = [], [], []
    for q, row in enumerate(distances):
        order = np.argsort(row, kind="stable")
        relevant = []
        for g in order:
            if gallery_ids[g] == -1:
                continue
            if gallery_ids[g] == query_ids[q] and gallery_cams[g] == query_cams[q]:
                continue
            relevant.append(int(gallery_ids[g] == query_ids[q]))
        if not any(relevant) or query_ids[q] == -1:
            ap.append(np.nan)
            continue
        precisions, hits = [], 0
        for position, hit in enumerate(relevant, start=1):
            if hit:
                hits += 1
                precisions.append(hits / position)
        ap.append(sum(precisions) / hits)
        first.append(relevant.index(1) + 1)
        inp.append(hits / (len(relevant) - relevant[::-1].index(1)))
    cmc = [100 * np.mean([f <= k for f in first]) for k in (1, 5, 10)] if first else None
    return np.array(ap), cmc, 100 * np.mean(inp) if inp else None


@st.composite
def labelled_distances(draw):
    """Small sets with few ids, cameras and distance values: ties, junk and no match abound."""
    n_query, n_gallery = draw(st.integers(1, 6)), draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 4, 1000]))
    distances = rng.integers(0, levels, (n_query, n_gallery)).astype(np.float32)
    n_ids, n_cams = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    return (
        distances,
        rng.integers(-1, n_ids, n_query),
        rng.integers(0, n_cams, n_query),
        rng.integers(-1, n_ids, n_gallery),
        rng.integers(0, n_cams, n_gallery),
    )


def assert_equals_reference(evaluate, expected):
    expected_ap, expected_cmc, expected_minp = expected
    if np.isnan(expected_ap).all():
        with pytest.raises(ReidEdgeError, match="true match"):
            evaluate()
        return
    result = evaluate()
    np.testing.assert_allclose(result.ap, expected_ap, rtol=1e-12)
    assert result.mAP == pytest.approx(100 * np.nanmean(expected_ap), rel=1e-12)
    assert [result.rank1, result.rank5, result.rank10] == pytest.approx(expected_cmc, rel=1e-12)
    assert result.mINP == pytest.approx(expected_minp, rel=1e-12)
    assert result.n_skipped == np.isnan(expected_ap).sum()
    assert result.n_valid + result.n_skipped == len(expected_ap)


@given(labelled_distances())
def test_distances_equal_the_reference_with_ties_junk_and_queries_without_match(case):
    before = case[0].copy()
    assert_equals_reference(lambda: evaluate_distances(*case), reference_evaluation(*case))
    np.testing.assert_array_equal(case[0], before)


@given(labelled_distances(), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_features_equal_the_reference_on_exactly_tied_cosines(case, chunk, seed):
    """Entries of -1 and 1 in 16 dimensions: norms and cosines are exact, so ties are exact too."""
    _, query_ids, query_cams, gallery_ids, gallery_cams = case
    rng = np.random.default_rng(seed)
    query = rng.choice([-1.0, 1.0], (len(query_ids), 16))
    gallery = rng.choice([-1.0, 1.0], (len(gallery_ids), 16))
    scale = 2.0 ** rng.integers(-3, 4, (len(gallery_ids), 1))  # a norm must not matter
    cosine = 1.0 - (query / 4) @ (gallery / 4).T
    labels = query_ids, query_cams, gallery_ids, gallery_cams
    assert_equals_reference(
        lambda: evaluate_retrieval(
            query, query_ids, query_cams, gallery * scale, gallery_ids, gallery_cams, chunk=chunk
        ),
        reference_evaluation(cosine, *labels),
    )


def test_a_case_worked_by_hand():
    distances = [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]
    #             junk same-cam other hit distractor hit
    result = evaluate_distances(distances, [7], [1], [-1, 7, 8, 7, 0, 7], [1, 1, 2, 2, 3, 3])
    assert result.mAP == pytest.approx(100 * (1 / 2 + 2 / 4) / 2)
    assert (result.rank1, result.rank(2)) == (0.0, 100.0)
    assert result.mINP == pytest.approx(100 * 2 / 4)
    assert result.to_dict(ranks=(1, 2)) == pytest.approx(
        {"mAP": 50.0, "rank1": 0.0, "rank2": 100.0, "mINP": 50.0}
    )


def test_ties_rank_in_gallery_order():
    hit_first = evaluate_distances([[1.0, 1.0]], [5], [0], [5, 6], [1, 1])
    hit_last = evaluate_distances([[1.0, 1.0]], [5], [0], [6, 5], [1, 1])
    assert (hit_first.first_hit[0], hit_last.first_hit[0]) == (1, 2)


def random_set(rng, n_query=40, n_gallery=300, dim=32):
    ids = rng.integers(0, 20, n_query + n_gallery)
    centres = rng.standard_normal((20, dim))
    features = centres[ids] + 0.8 * rng.standard_normal((len(ids), dim))
    cams = rng.integers(0, 4, len(ids))
    q, g = slice(n_query), slice(n_query, None)
    return features[q], ids[q], cams[q], features[g], ids[g], cams[g]


def test_result_depends_neither_on_chunk_nor_on_feature_scale():
    case = random_set(np.random.default_rng(0))
    whole = evaluate_retrieval(*case)
    scaled = evaluate_retrieval(1000 * case[0], *case[1:3], 0.01 * case[3], *case[4:], chunk=7)
    assert 20 < whole.mAP < 99
    np.testing.assert_allclose(scaled.ap, whole.ap, atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(value):
    case = list(random_set(np.random.default_rng(0)))
    case[3][5, 2] = value
    with pytest.raises(ReidEdgeError, match=r"1 of 300 gallery features .*NaN or infinity"):
        evaluate_retrieval(*case)
    with pytest.raises(ReidEdgeError, match="finite"):
        evaluate_distances([[value, 1.0]], [5], [0], [6, 5], [1, 1])


@pytest.mark.parametrize(
    ("position", "replacement", "message"),
    [
        (0, np.zeros((40, 31)), "same length"),
        (1, np.zeros(39, int), "query ids must be 40 integers"),
        (5, np.zeros(300), "gallery cameras must be 300 integers"),
        (3, np.zeros((0, 32)), "non-empty"),
        (4, np.full(300, 99), "None of the 40 queries"),
    ],
)
def test_inconsistent_input_is_refused(position, replacement, message):
    case = list(random_set(np.random.default_rng(0)))
    case[position] = replacement
    with pytest.raises(ReidEdgeError, match=message):
        evaluate_retrieval(*case)


def test_rank_agreement_of_equal_and_unrelated_embeddings():
    rng = np.random.default_rng(1)
    features = rng.standard_normal((200, 64))
    same = rank_agreement(features, 3.0 * features, top_k=10)
    assert (same.top1, same.overlap, same.n, same.k) == (100.0, 100.0, 200, 10)
    assert same.spearman == pytest.approx(1.0, abs=1e-4)

    slightly = rank_agreement(features, features + 0.1 * rng.standard_normal((200, 64)))
    unrelated = rank_agreement(features, rng.standard_normal((200, 16)))
    assert 0.95 < slightly.spearman < 1.0
    assert unrelated.overlap == pytest.approx(100 * 10 / 199, abs=3)
    assert unrelated.spearman == pytest.approx(0.0, abs=0.05)
    assert unrelated.overlap < slightly.overlap < 100.0


@given(st.integers(3, 12), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_rank_agreement_equals_plain_loops(n, top_k, seed):
    rng = np.random.default_rng(seed)
    pair = rng.standard_normal((2, n, 5))
    got = rank_agreement(*pair, top_k=top_k)
    k = min(top_k, n - 1)
    top1, overlap, spearman = [], [], []
    for i in range(n):
        orders = []
        for features in pair:
            unit = features / np.linalg.norm(features, axis=1, keepdims=True)
            others = [j for j in range(n) if j != i]
            orders.append(sorted(others, key=lambda j: -unit[i] @ unit[j]))
        a, b = orders
        top1.append(a[0] == b[0])
        overlap.append(len(set(a[:k]) & set(b[:k])) / k)
        ranks = [[order.index(j) for j in sorted(a)] for order in orders]
        spearman.append(np.corrcoef(*ranks)[0, 1])
    assert got.top1 == pytest.approx(100 * np.mean(top1))
    assert got.overlap == pytest.approx(100 * np.mean(overlap))
    assert got.spearman == pytest.approx(np.mean(spearman), abs=1e-9)


def test_rank_agreement_needs_the_same_crops():
    with pytest.raises(ReidEdgeError, match="same crops"):
        rank_agreement(np.ones((5, 2)), np.ones((4, 2)))


@pytest.mark.slow
def test_full_market_size_within_time_and_memory():
    """3,368 queries x 15,913 gallery, 512-D: at most 15 s and 2 GB in a process of its own.

    VmHWM and not getrusage's ru_maxrss, which a child inherits from its parent through fork.
    """
    program = textwrap.dedent(
        """
        import time
        import numpy as np
        from benchmarks.metrics import evaluate_retrieval
        rng = np.random.default_rng(0)
        def side(n):
            ids = rng.integers(0, 750, n)
            return rng.standard_normal((n, 512), np.float32), ids, rng.integers(0, 6, n)
        query, gallery = side(3368), side(15913)
        started = time.perf_counter()
        result = evaluate_retrieval(*query, *gallery)
        elapsed = time.perf_counter() - started
        status = dict(line.split(":") for line in open("/proc/self/status"))
        print(elapsed, status["VmHWM"].split()[0], result.n_valid)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    elapsed_s, peak_kib, n_valid = map(float, done.stdout.split())
    assert n_valid == 3368
    assert elapsed_s <= 15.0
    assert peak_kib <= 2 * 1024**2

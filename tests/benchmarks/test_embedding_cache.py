"""Embeddings in pieces on disk: right, resumable, never stale."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.embedding_cache import default_cache, embed_variants
from benchmarks.evaluation_set import open_evaluation_set
from benchmarks.variants import Variant, plan_variants
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError
from runtime.preprocess import l2_normalize, preprocess, read_image
from tests.benchmarks.tiny_onnx import linear_model
from tests.benchmarks.tiny_run import DIM, HEIGHT, WIDTH, weights, write_bundle, write_market

CHUNK = 10


@pytest.fixture
def rig(tmp_path, monkeypatch):
    """Bundle, variants, data and cache; ``counted`` lists (variant, images) of every network call."""

    class Rig:
        cache = tmp_path / "cache"
        data = write_market(tmp_path / "set", people=4, crops=4)
        counted = []
        stop_after = None

        def __init__(self):
            self.use(write_bundle(tmp_path / "bundle"))

        def use(self, path):
            self.bundle = Bundle.open(path)
            self.variants = plan_variants(self.bundle)

        def embed(self, variants=None, cache=None):
            found = open_evaluation_set(self.data, progress=False)
            return embed_variants(
                self.bundle, variants or self.variants, found, cache or self.cache,
                threads=1, progress=False, chunk=CHUNK,
            )  # fmt: skip

        def images(self):
            total = sum(n for _, n in self.counted)
            self.counted.clear()
            return total

    rig = Rig()
    known = Variant.open

    def counting(variant, bundle, threads=None):
        backend = known(variant, bundle, threads)
        run = backend.run

        def counted(batch):
            if rig.stop_after is not None and len(rig.counted) >= rig.stop_after:
                raise KeyboardInterrupt
            rig.counted.append((variant.name, len(batch)))
            return run(batch)

        backend.run = counted
        return backend

    monkeypatch.setattr(Variant, "open", counting)
    return rig


def test_embeddings_are_those_of_the_network_in_order(rig):
    got = rig.embed()
    found = open_evaluation_set(rig.data, progress=False)
    images = [read_image(crop.path) for crop in found.crops]
    pixels = preprocess(images, rig.bundle.manifest.input).reshape(len(images), -1)
    for name in ("fp32", "int8"):
        np.testing.assert_allclose(
            got[name].features, pixels @ weights("model." + name), rtol=1e-3, atol=1e-3
        )
        assert got[name].kept.tolist() == list(range(32)) and got[name].unreadable == []
    golden = np.load(str(rig.bundle.find("golden")))["inputs"].reshape(5, -1)
    expected = l2_normalize(golden @ weights("model.fp32"))
    np.testing.assert_allclose(got["fp32"].prior, expected, rtol=1e-3, atol=1e-4)


def test_nothing_is_run_twice(rig):
    first = rig.embed()
    assert rig.images() == 2 * (32 + 5)
    again = rig.embed()
    assert rig.images() == 0
    for name in first:
        np.testing.assert_array_equal(again[name].features, first[name].features)
        np.testing.assert_array_equal(again[name].prior, first[name].prior)
    # Another bundle with the same files is not run either; its manifest does not matter.
    rig.use(write_bundle(rig.data.parent / "copy", notes=["something else"]))
    rig.embed()
    assert rig.images() == 0


def test_an_interrupted_run_goes_on_where_it_was(rig):
    rig.stop_after = 4  # two pieces of both networks
    with pytest.raises(KeyboardInterrupt):
        rig.embed()
    assert rig.images() == 2 * 20
    rig.stop_after = None
    resumed = rig.embed()
    assert rig.images() == 2 * (12 + 5)
    fresh = rig.embed(cache=rig.data.parent / "other")
    for name in fresh:
        np.testing.assert_array_equal(resumed[name].features, fresh[name].features)
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_one_variant_more_costs_only_itself(rig):
    rig.embed(rig.variants[:1])
    assert {name for name, _ in rig.counted} == {"fp32"}
    rig.images()
    rig.embed()
    assert {name for name, _ in rig.counted} == {"int8"} and rig.images() == 32 + 5


@pytest.mark.parametrize("what", ["data", "model", "numerics", "contract"])
def test_what_changes_the_numbers_is_run_again(rig, what):
    rig.embed()
    rig.images()
    variants = None
    if what == "data":
        path = next((rig.data / "query").iterdir())
        path.write_bytes(path.read_bytes() + b"\0")
    elif what == "model":
        fp32, int8 = (linear_model(weights(seed=seed), HEIGHT, WIDTH) for seed in (1, 2))
        rig.use(write_bundle(rig.data.parent / "other", model_fp32=fp32, model_int8=int8))
    elif what == "numerics":
        variants = [replace(variant, as_written=True) for variant in rig.variants]
    else:
        manifest = rig.bundle.manifest
        rig.bundle.manifest = replace(manifest, input=manifest.input.with_(color="BGR"))
    rig.embed(variants)
    assert rig.images() == 2 * (32 + 5)


def test_a_damaged_piece_is_made_again(rig):
    fresh = rig.embed()
    rig.images()
    pieces = sorted(rig.cache.rglob("0*.npz"))
    pieces[0].write_bytes(pieces[0].read_bytes()[:50])
    pieces[1].write_bytes(b"")
    again = rig.embed()
    assert rig.images() == 2 * CHUNK
    np.testing.assert_array_equal(again["fp32"].features, fresh["fp32"].features)
    assert not list(rig.cache.rglob(".*")), "no temporary files are left"


def test_images_that_cannot_be_read(rig):
    found = open_evaluation_set(rig.data, progress=False)
    broken = [*range(CHUNK, 2 * CHUNK), 25]  # a whole piece, and one more
    for number in broken:
        found.crops[number].path.write_bytes(b"no image")
    got = rig.embed()["fp32"]
    assert got.unreadable == broken and len(got.features) == 32 - len(broken)
    assert sorted([*got.kept.tolist(), *broken]) == list(range(32))
    for crop in found.crops:
        crop.path.write_bytes(b"")
    with pytest.raises(ReidEdgeError, match=r"None of the 32 images .* could be read"):
        rig.embed()


def test_a_network_that_returns_nan_is_named_and_nothing_is_kept(rig, tmp_path):
    broken = weights("model.int8")
    broken[3] = np.nan
    rig.use(write_bundle(tmp_path / "nan", model_int8=linear_model(broken, HEIGHT, WIDTH)))
    with pytest.raises(
        ReidEdgeError, match=r"Network int8 of bundle .*nan returns NaN .* 10 of 10"
    ):
        rig.embed()
    assert not list(rig.cache.rglob("0*.npz"))


def test_a_bundle_without_golden_inputs_has_no_prior(rig, tmp_path):
    rig.use(write_bundle(tmp_path / "bare", golden=False))
    got = rig.embed()
    assert got["fp32"].prior is None and got["fp32"].features.shape == (32, DIM)


def test_a_cache_that_cannot_be_written(rig, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReidEdgeError, match="Cannot write"):
        rig.embed(cache=tmp_path / "file")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "reid-edge"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache().parts[-2:] == (".cache", "reid-edge")

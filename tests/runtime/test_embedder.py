"""Crops in, embeddings out."""

import numpy as np
import pytest

from runtime.backends.base import Backend
from runtime.bundle import Bundle
from runtime.contract import EmbeddingContract, InputContract
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess
from tests.runtime.fake_bundle import DIM, HEIGHT, WIDTH, make_bundle
from tests.runtime.test_backends import DIM as TINY_DIM
from tests.runtime.test_backends import expected, real_bundle
from tests.runtime.test_manifest import make_manifest


class Mean(Backend):
    """An embedding of per-channel means, repeated; remembers what it was given."""

    name = "mean"
    input_shape = (3, HEIGHT, WIDTH)

    def _run(self, batch):
        self.given = batch
        return np.tile(batch.mean(axis=(2, 3)), (1, DIM // 3))


def crops(count):
    generator = np.random.RandomState(3)
    sizes = generator.randint(5, 60, (count, 2))
    return [generator.randint(0, 256, (h, w, 3)).astype(np.uint8) for h, w in sizes]


def bundle_with(l2_normalize):
    manifest = make_manifest(
        input=InputContract(HEIGHT, WIDTH, color="BGR"),
        embedding=EmbeddingContract(DIM, l2_normalize=l2_normalize),
        files={},
    )
    return Bundle("unused", manifest)


def test_the_network_sees_crops_by_the_bundles_contract():
    backend = Mean()
    bundle = bundle_with(l2_normalize=False)
    embeddings = Embedder(bundle, backend).embed(crops(4))
    batch = preprocess(crops(4), bundle.manifest.input)
    np.testing.assert_array_equal(backend.given, batch)
    np.testing.assert_array_equal(embeddings[:, :3], batch.mean(axis=(2, 3)))
    assert embeddings.shape == (4, DIM) and embeddings.dtype == np.float32


def test_normalised_when_the_contract_says_so():
    plain = Embedder(bundle_with(l2_normalize=False), Mean()).embed(crops(4))
    unit = Embedder(bundle_with(l2_normalize=True), Mean()).embed(crops(4))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    assert abs(np.linalg.norm(plain, axis=1) - 1).min() > 0.01
    norms = np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(unit * norms, plain, rtol=1e-5, atol=1e-6)


def test_no_crops_give_no_embeddings_and_do_not_reach_the_network():
    backend = Mean()
    empty = Embedder(bundle_with(l2_normalize=True), backend).embed([])
    assert empty.shape == (0, DIM) and empty.dtype == np.float32
    assert not hasattr(backend, "given")


def test_a_bad_crop_among_good_ones_is_refused():
    with pytest.raises(ReidEdgeError, match="A crop must be"):
        Embedder(bundle_with(l2_normalize=True), Mean()).embed([*crops(2), None])


def test_from_bundle_to_embedding_with_onnxruntime(tmp_path):
    bundle = real_bundle(tmp_path / "b", target="cpu")
    embeddings = Embedder(bundle).embed(crops(5))
    reference = expected(preprocess(crops(5), bundle.manifest.input))
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    assert embeddings.shape == (5, TINY_DIM)
    np.testing.assert_allclose(embeddings, reference, rtol=1e-4, atol=1e-6)


def test_wrong_bundle_path_is_one_sentence(tmp_path):
    with pytest.raises(ReidEdgeError, match="is not a bundle"):
        Embedder(Bundle.open(make_bundle(tmp_path / "b") / "missing"))

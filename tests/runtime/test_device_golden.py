"""A bundle made on a workstation gives the same embeddings on this machine.

Continuous integration runs this under Python 3.8 with the device's old NumPy and ONNX Runtime. By
hand: ``REID_EDGE_BUNDLE=path/to/bundle python -m pytest tests/runtime/test_device_golden.py``
"""

import os

import numpy as np
import pytest

from runtime.backends import open_backend
from runtime.bundle import Bundle
from runtime.preprocess import l2_normalize


@pytest.fixture(scope="module")
def bundle():
    path = os.environ.get("REID_EDGE_BUNDLE")
    if not path:
        pytest.skip("set REID_EDGE_BUNDLE to a bundle made by reid-export")
    return Bundle.open(path)


@pytest.fixture(scope="module")
def golden(bundle):
    with np.load(str(bundle.find("golden")), allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def run(bundle, golden, precision):
    with open_backend(bundle, "onnxruntime", precision) as backend:
        return backend.run(golden["inputs"])


def test_golden_inputs_are_preprocessed_images(bundle, golden):
    inputs = golden["inputs"]
    assert inputs.dtype == np.float32 and inputs.shape[1:] == bundle.manifest.input.shape
    assert len(inputs) >= 2 and np.isfinite(inputs).all()
    assert golden["embedding_fp32"].shape == (len(inputs), bundle.manifest.embedding.dim)
    assert abs(inputs[0] - inputs[1]).max() > 0.1  # different people, or nothing would be proved


def test_fp32_model_reproduces_its_embeddings(bundle, golden):
    expected = golden["embedding_fp32"]
    difference = np.linalg.norm(run(bundle, golden, "fp32") - expected, axis=1)
    assert (difference / np.linalg.norm(expected, axis=1)).max() <= 1e-4


def test_int8_model_reproduces_its_embeddings(bundle, golden):
    if not bundle.has("model.int8"):
        pytest.skip("bundle %s has no int8 model" % bundle.path)
    expected = l2_normalize(golden["embedding_int8"])
    cosines = (l2_normalize(run(bundle, golden, "int8")) * expected).sum(axis=1)
    assert cosines.min() >= 0.99

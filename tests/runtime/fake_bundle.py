"""A small Xavier bundle around fake_tensorrt's JSON models, with golden embeddings that are right."""

import numpy as np

from runtime.bundle import BundleWriter
from runtime.contract import EmbeddingContract, InputContract
from runtime.manifest import Manifest
from tests.runtime.fake_model import embed, make_model

HEIGHT, WIDTH, DIM = 16, 8, 12
CACHE = b"TRT-8502-EntropyCalibration2\nimages: 3f810204\nembedding: 3d010a14\n"


def make_bundle(
    path,
    precision="int8",
    target="xavier",
    batch=(1, 4, 16),
    models=None,
    cache=CACHE,
    golden=None,
    dim=DIM,
):
    """Write a bundle and return its path.

    Args:
        models: role -> file contents; by default a float and a Q/DQ model.
        golden: Replaces the arrays of golden.npz.
    """
    float_model, qdq_model = make_model("float"), make_model("qdq")
    if models is None:
        models = {"model.fp32": float_model, "model.int8": qdq_model}
    inputs = np.random.RandomState(1).standard_normal((5, 3, HEIGHT, WIDTH)).astype(np.float32)
    arrays = {
        "inputs": inputs,
        "embedding_fp32": embed(float_model, inputs, "fp32"),
        "embedding_int8": embed(qdq_model, inputs, "int8"),
    }
    with BundleWriter(path, force=True) as writer:
        for role, contents in models.items():
            writer.file(role + ".onnx", role).write_bytes(contents)
        if cache is not None:
            writer.file("calibration.cache", "calibration.cache").write_bytes(cache)
        np.savez(str(writer.file("golden.npz", "golden")), **(golden or arrays))
        writer.finish(
            Manifest(
                name="demo",
                target=target,
                precision=precision,
                network={"family": "resnet", "arch": "tiny", "trained": False},
                input=InputContract(height=HEIGHT, width=WIDTH),
                embedding=EmbeddingContract(dim=dim),
                batch=dict(zip(("min", "opt", "max"), batch)),
                files=writer.entries(),
                created_utc="2026-01-02T03:04:05+00:00",
            )
        )
    return path

"""A bundle and an evaluation set small enough to measure in a moment, for tests of the benchmark."""

import cv2
import numpy as np

from benchmarks.results import Conditions, Latency, Machine, Percentiles
from runtime.bundle import BundleWriter
from runtime.contract import EmbeddingContract, InputContract
from runtime.manifest import Manifest
from tests.benchmarks.tiny_onnx import linear_model

HEIGHT, WIDTH, DIM = 16, 8, 24
ROLES = ("model.fp32", "model.int8")

MACHINE = Machine(
    cpu="a CPU", cpu_flags=["avx2"], cores=2, usable_cores=2, memory_mb=4096.0, governor=None,
    max_mhz=None, os="Linux", arch="x86_64", board=None, l4t=None, power_mode=None,
    jetson_clocks=None, versions={"python": "3.8.18"},
)  # fmt: skip
CONDITIONS = Conditions(cpu_mhz=1000.0, gpu_mhz=None, temperatures_c={}, busy_cores=0.1)


def weights(role="model.fp32", seed=0):
    """(values, DIM): averages over random patches; int8's are rounded so that it shows."""
    rng = np.random.RandomState(seed)
    exact = rng.standard_normal((3 * HEIGHT * WIDTH, DIM)).astype(np.float32)
    if role == "model.int8":
        step = np.abs(exact).max() / 3
        return (np.round(exact / step) * step).astype(np.float32)
    return exact


def write_bundle(
    path, target="cpu", roles=ROLES, golden=True, nv12=False, source="tiny_market1501.pth",
    notes=(), trained=True, height=HEIGHT, width=WIDTH, **models
):  # fmt: skip
    """Write a bundle and return its path; ``models`` replaces files by role with _ for the dot."""
    with BundleWriter(path, force=True) as writer:
        for role in roles:
            contents = models.get(role.replace(".", "_"))
            if contents is None:
                values = np.resize(weights(role), (3 * height * width, DIM))
                contents = linear_model(values, height, width)
            writer.file(role + ".onnx", role).write_bytes(contents)
        if golden:
            inputs = np.random.RandomState(9).standard_normal((5, 3, height, width))
            arrays = {"inputs": inputs.astype(np.float32)}
            if nv12:
                arrays["inputs_nv12"] = np.zeros((5, height * width * 3 // 2), np.uint8)
            for role in ("fp32", "int8"):
                arrays["embedding_" + role] = np.ones((5, DIM), np.float32)
            np.savez(str(writer.file("golden.npz", "golden")), **arrays)
        writer.finish(
            Manifest(
                name="tiny",
                target=target,
                precision="int8" if "model.int8" in roles else "fp32",
                network={
                    "family": "test", "arch": "linear", "trained": trained, "source": source,
                    "source_sha256": "0" * 64, "notes": list(notes),
                },
                input=InputContract(height=height, width=width),
                embedding=EmbeddingContract(dim=DIM),
                batch={"min": 1, "opt": 4, "max": 16},
                files=writer.entries(),
                created_utc="2026-01-02T03:04:05+00:00",
            )
        )  # fmt: skip
    return path


def write_market(root, people=8, crops=7, seed=0, noise=35.0):
    """People in two cameras in Market-1501's layout: a pattern of their own, and noise."""
    rng = np.random.RandomState(seed)
    for part in ("query", "bounding_box_test"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for person in range(1, people + 1):
        look = rng.randint(60, 196, (8, 4, 3)).astype(np.float64)
        for camera in (1, 2):
            for number in range(crops):
                pixels = look + 25 * camera + rng.normal(0, noise, look.shape)
                part = "query" if number == 3 else "bounding_box_test"
                name = "%04d_c%ds1_%06d_00.png" % (person, camera, number)
                image = np.clip(pixels, 0, 255).astype(np.uint8)
                assert cv2.imwrite(str(root / part / name), cv2.resize(image, (16, 32)))
    return root


def percentiles(p50_ms):
    return Percentiles(p50_ms, 1.2 * p50_ms, 1.5 * p50_ms, 1.1 * p50_ms, 20)


def latency(batch=1, threads=1, network_ms=2.0):
    return Latency(
        batch=batch, threads=threads, network=percentiles(network_ms),
        preprocess=percentiles(0.5), end_to_end=percentiles(network_ms + 0.6), repeats=20, warmup=3,
        crop_height=240, crop_width=96, peak_memory_mb=80.0, overhead_percent=0.5,
        before=CONDITIONS, after=CONDITIONS,
    )  # fmt: skip

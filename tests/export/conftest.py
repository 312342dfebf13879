"""Golden checkpoints as the float ONNX graphs that ship; each is exported once per session."""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.graph import Graph
from export.rewrites import fold_batchnorm, name_nodes
from export.trace import trace
from models.checkpoint import load_network
from runtime.contract import InputContract
from runtime.preprocess import preprocess
from tests.models.conftest import golden  # noqa: F401  (a fixture)

GOLDEN = (
    "rga_sc_r50", "rga_s_r50", "bot_r50", "bot_r18", "bot_r50_ibn_a", "osnet_x0_25", "osnet_x1_0",
    "osnet_ain_x1_0", "torchreid_resnet50", "torchreid_resnet50_fc512", "fastreid_bot_r50",
    "fastreid_sbs_r50_ibn", "layumi_r50_s1",
)  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """A traced and rewritten network.

    Attributes:
        path: The float ONNX file.
        contract: How its input is prepared.
        pixels: (2, 3, H, W) float32: the golden images, prepared.
        feature: (2, D) float64: what the original code makes of them.
    """

    path: Path
    contract: InputContract
    pixels: np.ndarray
    feature: np.ndarray

    @property
    def model(self) -> onnx.ModelProto:
        return onnx.load(self.path)


def rewritten(loaded) -> Graph:
    """LoadedNetwork -> the float graph that is quantized and shipped."""
    graph = Graph(trace(loaded.for_export(), loaded.input))
    fold_batchnorm(graph)
    name_nodes(graph)
    return graph


@pytest.fixture(scope="session")
def exported(golden, tmp_path_factory):  # noqa: F811
    """name of a golden network -> Exported."""
    folder = tmp_path_factory.mktemp("exported")

    @functools.lru_cache(maxsize=None)
    def export(name: str) -> Exported:
        reference = golden(name)
        checkpoint = reference.save(folder / "checkpoint.pth")
        # The family's stride and bottleneck are in this file, not in the checkpoint.
        (folder / "opts.yaml").write_text("PCB: false\nlinear_num: 512\nstride: 1\n")
        loaded = load_network(checkpoint)
        path = folder / (name + ".onnx")
        onnx.save(rewritten(loaded).to_model(), path)
        pixels = preprocess(reference.crops(), loaded.input)
        return Exported(path, loaded.input, pixels, reference.feature())

    yield export
    shutil.rmtree(folder)  # over a gigabyte

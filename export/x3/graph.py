"""The float graph for the Horizon X3: opset 11, static 4-D, in operators of its BPU (bernoulli2).

hb_mapper takes float ONNX and quantizes by itself; what its operator table (operators.json) does not
have falls to the CPU and cuts the graph. Each rewrite here is exact and is measured against the
network before it. What stays on the CPU, such as InstanceNormalization, the checker tells.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from export.graph import Graph
from export.rewrites import fold_batchnorm, name_nodes
from export.trace import IR_VERSION, trace
from export.x3.layout import LAYOUTS
from export.x3.pools import split_global_pools
from export.x3.rga import BpuRelationAttention
from export.x3.split_attention import BpuSplitAttention
from export.x3.tail import BpuTail
from models.checkpoint import LoadedNetwork
from models.network import PixelNormalize, ReidNetwork
from models.resnest import SplitAttention
from models.rga import RelationAttention
from models.zoo.demo import demo_crops
from runtime.backends.onnxruntime import make_session
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError, VerificationError
from runtime.preprocess import preprocess

OPSET = 11  # hb_mapper reads 10 and 11
MAX_ERROR = 1e-5  # relative L2 of a rewrite
# A badly conditioned network amplifies rounding beyond that; then ONNX in float32 may differ from
# torch in float64 by so many times what torch in float32 does, but by no more than MAX_ROUNDING.
ROUNDING_FACTOR, MAX_ROUNDING = 4, 1e-4
SEED = 20200613
CHECK_CROPS = 2


@dataclass(frozen=True)
class Rewrite:
    """One rewrite and what it changed.

    Attributes:
        name: Short name.
        text: What was replaced by what, one sentence.
        count: Number of places.
        relative_l2: Largest |after - before| / |before| of a crop's embedding. In float64 where
            torch modules are rewritten; the step to ONNX, run in float32, includes its rounding.
        allowed: What it may be: ``MAX_ERROR``, or more where rounding alone is more.
    """

    name: str
    text: str
    count: int
    relative_l2: float
    allowed: float = MAX_ERROR


@dataclass(frozen=True)
class X3Graph:
    """What hb_mapper is given.

    Attributes:
        model: Opset 11, IR 7; input ``images`` (1, 3, H, W), output ``embedding`` (1, D, 1, 1).
        input: How its input is prepared; not the checkpoint's own contract where a normalization
            was taken out of the network.
        cut: What the runtime does behind it, in order: ``"flatten"`` and, where the embedding is
            compared normalized, ``"l2_normalize"``.
        steps: The rewrites, in order.
    """

    model: onnx.ModelProto
    input: InputContract
    cut: tuple[str, ...]
    steps: tuple[Rewrite, ...]


def x3_graph(
    loaded: LoadedNetwork, crops: Sequence[np.ndarray] | None = None, *, layout: str = "bpu"
) -> X3Graph:
    """Rewrite a network for the X3 and check every rewrite.

    Args:
        loaded: The network; it is not changed.
        crops: BGR crops, (H, W, 3) uint8, on which rewrites are measured; default: drawn people.
        layout: How RGA changes layouts: ``"bpu"`` with Split and Concat, which leaves nothing to
            the CPU, or ``"cpu"`` with Reshape and Transpose, five nodes a module.

    Raises:
        ReidEdgeError: A network or layout that is not known here, or one that cannot be traced.
        VerificationError: A rewrite changed an embedding by more than rounding.
    """
    if layout not in LAYOUTS:
        raise ReidEdgeError(
            "The layout of an X3 graph must be %s, got %r." % (" or ".join(LAYOUTS), layout)
        )
    if not isinstance(loaded.network, ReidNetwork):
        raise ReidEdgeError(
            "An X3 graph is made of a network of models/network.py, got %s; load it with "
            "load_network." % type(loaded.network).__name__
        )
    if crops is None:
        crops = [image for image, _, _ in demo_crops(CHECK_CROPS, 1, SEED)]
    rewriter = _Rewriter(loaded, crops)
    rewriter.normalization()
    rewriter.modules(
        RelationAttention,
        lambda module: BpuRelationAttention(module, LAYOUTS[layout]),
        "attention",
        "relation-aware attention re-associated and in 4-D operators",
    )
    rewriter.modules(
        SplitAttention,
        BpuSplitAttention,
        "split attention",
        "subtractions of split attention in its convolutions",
    )
    rewriter.tail()
    model = rewriter.to_onnx()
    model = rewriter.pools(model)
    cut = ("flatten", *(("l2_normalize",) if loaded.embedding.l2_normalize else ()))
    return X3Graph(model, rewriter.contract, cut, tuple(rewriter.steps))


def plain_graph(loaded: LoadedNetwork) -> onnx.ModelProto:
    """The network as a plain export writes it, to compare with: RGA in its original form.

    Opset 11, IR 7, (1, 3, H, W) to (1, D), BatchNorm folded.
    """
    network = copy.deepcopy(loaded.network).eval()
    for module in network.modules():
        if isinstance(module, RelationAttention):
            module.form = "original"
    graph = Graph(trace(network, loaded.input, OPSET, batch=1))
    fold_batchnorm(graph)
    return _finished(graph)


def _finished(graph: Graph) -> onnx.ModelProto:
    name_nodes(graph)
    model = graph.to_model()
    model.ir_version = IR_VERSION
    return model


class _X3Network(nn.Module):
    """(1, 3, H, W) to (1, D, 1, 1). Names of its parts become names of nodes."""

    def __init__(self, backbone: nn.Module, tail: nn.Module):
        super().__init__()
        self.backbone, self.tail = backbone, tail

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.backbone(x))


class _Rewriter:
    """A network on its way to the graph, and the embeddings it had at the last check."""

    def __init__(self, loaded: LoadedNetwork, crops: Sequence[np.ndarray]):
        # In float64 a rewrite shows its own error; in float32 a badly conditioned network would
        # show how it amplifies rounding.
        self.network: Any = copy.deepcopy(loaded.network).double().eval()
        self.contract = loaded.input
        self.crops = crops
        self.steps: list[Rewrite] = []
        self.allowed = MAX_ERROR
        self.embeddings = self._run_torch()

    def normalization(self) -> None:
        """Move ``(x - mean) / std`` out of the network and into its input's preparation.

        The X3 has no subtraction, and hb_mapper normalizes on its own.
        """
        normalize = self.network.normalize
        if normalize is None:
            return
        if not isinstance(normalize, PixelNormalize):
            raise ReidEdgeError(
                "Only PixelNormalize can be taken out of a network for the X3, this one has %s."
                % type(normalize).__name__
            )
        # ((p * scale - m) / s - M) / S = (p * scale - (m + s * M)) / (s * S)
        mean, std = (v.flatten().tolist() for v in (normalize.mean, normalize.std))
        outer = list(zip(self.contract.mean, self.contract.std))
        self.contract = self.contract.with_(
            mean=tuple(m + s * inner for (m, s), inner in zip(outer, mean)),
            std=tuple(s * inner for (_, s), inner in zip(outer, std)),
        )
        self.network.normalize = None
        self._record("normalization", "taken out of the network, into the input's preparation", 1)

    def modules(
        self, kind: type[nn.Module], replace: Callable[[Any], nn.Module], name: str, text: str
    ) -> None:
        """Replace all modules of one kind."""
        found = [(path, m) for path, m in self.network.named_modules() if isinstance(m, kind)]
        for path, module in found:
            parent, _, child = path.rpartition(".")
            setattr(self.network.get_submodule(parent), child, replace(module).eval())
        if found:
            self._record(name, text, len(found))

    def tail(self) -> None:
        """Pooling and neck in (1, C, 1, 1); what follows is the runtime's."""
        self.network = _X3Network(self.network.backbone, BpuTail(self.network)).eval()
        self._record("tail", "pooling and neck as 1x1 convolutions, not flattened", 1)

    def to_onnx(self) -> onnx.ModelProto:
        """Trace and fold all BatchNormalization."""
        self.network.float()
        rounding = _relative_l2(self._run_torch(torch.float32), self.embeddings)
        self.allowed = min(max(MAX_ERROR, ROUNDING_FACTOR * rounding), MAX_ROUNDING)
        graph = Graph(trace(self.network, self.contract, OPSET, batch=1))
        fold_batchnorm(graph, depthwise=True)
        model = _finished(graph)
        text = "traced to so many nodes; constants and BatchNormalization folded"
        self._record("onnx", text, len(model.graph.node), model)
        return model

    def pools(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Put average pools in front of global ones that are too large."""
        graph = Graph(model)
        count = split_global_pools(graph)
        if not count:
            return model
        model = graph.to_model()
        self._record("pooling", "large global average pools in two or more", count, model)
        return model

    def _record(
        self, name: str, text: str, count: int, model: onnx.ModelProto | None = None
    ) -> None:
        embeddings = self._run_torch() if model is None else self._run_onnx(model)
        error = _relative_l2(embeddings, self.embeddings)
        if not error <= self.allowed:
            raise VerificationError(
                "The rewrite %r for the X3 changed the embedding by %.1e (relative L2, allowed "
                "%.0e); please report the network." % (name, error, self.allowed)
            )
        self.steps.append(Rewrite(name, text, count, error, self.allowed))
        self.embeddings = embeddings

    def _run_torch(self, dtype: torch.dtype = torch.float64) -> np.ndarray:
        with torch.no_grad():
            outputs = [
                self.network(torch.from_numpy(pixels).to(dtype)).flatten(1)
                for pixels in self._pixels()
            ]
        return torch.cat(outputs).double().numpy()

    def _run_onnx(self, model: onnx.ModelProto) -> np.ndarray:
        session = make_session(model.SerializeToString(), optimize=False)
        name = session.get_inputs()[0].name
        outputs = [session.run(None, {name: pixels})[0] for pixels in self._pixels()]
        return np.concatenate([output.reshape(1, -1) for output in outputs])

    def _pixels(self) -> list[np.ndarray]:
        return [preprocess([crop], self.contract) for crop in self.crops]


def _relative_l2(after: np.ndarray, before: np.ndarray) -> float:
    """Largest |after - before| / |before| of a row."""
    return float((np.linalg.norm(after - before, axis=1) / np.linalg.norm(before, axis=1)).max())

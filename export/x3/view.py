"""A node of an ONNX model with what surrounds it: the view that limits are checked on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto

from export.graph import attribute
from export.x3.tensors import Shape, Tensors

FLATTENING = ("Flatten", "Reshape", "Squeeze")


@dataclass(frozen=True)
class View:
    """A node with what surrounds it.

    Attributes:
        node: The node.
        tensors: Of the model.
        producers: Tensor -> the node that makes it.
        consumers: Tensor -> the nodes that read it.
        opset: Of the model.
    """

    node: NodeProto
    tensors: Tensors
    producers: Mapping[str, NodeProto]
    consumers: Mapping[str, list[NodeProto]]
    opset: int

    def of(self, node: NodeProto) -> View:
        """The same for another node."""
        return View(node, self.tensors, self.producers, self.consumers, self.opset)

    def input(self, position: int) -> str:
        """Name of an input, empty where it is left out."""
        return self.node.input[position] if position < len(self.node.input) else ""

    def shape(self, tensor: str) -> Shape | None:
        return self.tensors.shapes.get(tensor)

    def constant(self, position: int) -> np.ndarray | None:
        """Value of an input that is constant and known."""
        return self.tensors.values.get(self.input(position))

    def is_constant(self, tensor: str) -> bool:
        return tensor in self.tensors.constants

    @property
    def features(self) -> list[str]:
        """Inputs that depend on the model's input."""
        return [t for t in self.node.input if t and not self.is_constant(t)]

    def setting(self, name: str, position: int, default: Any = None) -> Any:
        """An attribute, or in newer opsets the constant input at ``position``, as a list or scalar."""
        value = attribute(self.node, name)
        if value is None and self.input(position):
            constant = self.constant(position)
            if constant is not None:
                value = constant.tolist()
        return default if value is None else value

    def shapes(self, names: Iterable[str]) -> list[Shape] | None:
        """Shapes of several tensors; None if one of them is unknown."""
        shapes = [self.tensors.shapes.get(t) for t in names]
        return None if any(s is None for s in shapes) else [s for s in shapes if s is not None]

    def only_consumer(self, tensor: str) -> NodeProto | None:
        readers = self.consumers.get(tensor, [])
        return readers[0] if len(readers) == 1 else None


def shape_text(shape: Shape | None) -> str:
    """``1x3x256x128``."""
    return "unknown" if shape is None else "x".join(map(str, shape)) or "scalar"


def flattened_map(view: View) -> Shape | None:
    """(C, H, W) of the map whose flattening a Gemm reads; None where it reads something else."""
    producer = view.producers.get(view.input(0))
    if producer is None or producer.op_type not in FLATTENING:
        return None
    before, after = view.shape(producer.input[0]), view.shape(view.input(0))
    if before is None or len(before) != 4 or after != (before[0], math.prod(before[1:])):
        return None
    return before[1:]


def map_size(view: View) -> Shape | None:
    """(C, H, W) of the map that a Gemm reads; one without a map before it reads (K, 1, 1)."""
    shape = view.shape(view.input(0))
    return flattened_map(view) or ((shape[-1], 1, 1) if shape else None)

"""An ONNX file as the predictor needs it: nodes in order, shapes of one image, what is constant."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence, Set, Tuple, Union

from benchmarks.predictor.cost import Shape
from runtime.errors import ReidEdgeError

Dims = Tuple[int, ...]
SHAPE_OPS = ("Constant", "Shape", "Size", "ConstantOfShape", "Range")
"""Operators whose result an engine knows when it is built."""


class OnnxGraph:
    """A loaded graph with batch 1.

    Attributes:
        name: File name without suffix.
        nodes: In the file's (topological) order, without those that compute constants.
        input: Name of the input image.
        outputs: Names of the graph's outputs.
        quantized: Whether activations pass QuantizeLinear.
    """

    def __init__(self, path: Union[str, Path]) -> None:
        path = Path(path)
        model = _load(path)
        self.path, self.name = path, path.stem
        self.outputs = [value.name for value in model.graph.output]
        self._dims = _infer(model, path)
        self._constants: Set[str] = {value.name for value in model.graph.initializer}
        images = [v.name for v in model.graph.input if v.name not in self._constants]
        if len(images) != 1:
            raise ReidEdgeError(
                "%s must have one input to be predicted, got %s." % (path, ", ".join(images) or 0)
            )
        self.input = images[0]
        self.nodes: List[Any] = []
        for node in model.graph.node:
            inputs = [name for name in node.input if name]
            if node.op_type in SHAPE_OPS or (inputs and all(map(self.constant, inputs))):
                self._constants.update(node.output)
            else:
                self.nodes.append(node)
        self.quantized = any(node.op_type == "QuantizeLinear" for node in self.nodes)
        self._readers: Dict[str, List[Any]] = {}
        for node in self.nodes:
            for name in set(node.input):
                self._readers.setdefault(name, []).append(node)

    def constant(self, name: str) -> bool:
        """Whether a tensor is known when an engine is built."""
        return name in self._constants

    def readers(self, name: str) -> List[Any]:
        """Nodes that read a tensor."""
        return self._readers.get(name, [])

    def private(self, name: str) -> bool:
        """Whether exactly one node reads a tensor and nobody outside the graph does."""
        return len(self.readers(name)) == 1 and name not in self.outputs

    def dims(self, name: str) -> Dims:
        """A tensor's dimensions at batch 1.

        Raises:
            ReidEdgeError: They are not static.
        """
        dims = self._dims.get(name)
        if dims is None:
            raise ReidEdgeError(
                "%s has no static shape for tensor %s; fix its input size and simplify it with "
                "onnxsim." % (self.path, name)
            )
        return dims

    def elements(self, name: str) -> int:
        """Elements of a tensor at batch 1."""
        count = 1
        for dim in self.dims(name):
            count *= dim
        return count

    def shape(self, name: str) -> Shape:
        """A tensor as channels, height and width of one image; further dimensions go into height."""
        dims = list(self.dims(name)[1:]) or [1]
        dims += [1] * (3 - len(dims))
        height = 1
        for dim in dims[1:-1]:
            height *= dim
        return Shape(dims[0], height, dims[-1])


def attributes(node: Any) -> Dict[str, Any]:
    """Attribute name to value: numbers, lists, strings."""
    import onnx

    found = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}


def _load(path: Path) -> Any:
    try:
        import onnx
    except ImportError:
        raise ReidEdgeError(
            "Predicting the latency of an ONNX file needs the package onnx, which a board does not "
            "have; predict on the workstation (pip install onnx)."
        ) from None
    try:
        # Shapes are enough: weights in external files stay where they are.
        return onnx.load(str(path), load_external_data=False)
    except (OSError, ValueError) as error:
        raise ReidEdgeError("Cannot read %s: %s." % (path, error)) from None
    except Exception as error:  # protobuf raises its own type on bytes that are no ONNX file
        raise ReidEdgeError("%s is not an ONNX file (%s)." % (path, error)) from None


def _infer(model: Any, path: Path) -> Dict[str, Dims]:
    """Static shapes of all tensors at batch 1."""
    import onnx

    constants = {value.name for value in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in constants:
            _fix_batch(value, path)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # the C++ checker's own type
        first = (str(error).splitlines() or ["unknown"])[0]
        raise ReidEdgeError("The shapes of %s contradict each other: %s." % (path, first)) from None
    dims = {value.name: tuple(value.dims) for value in model.graph.initializer}
    graph = inferred.graph
    values: Sequence[Any] = [*graph.input, *graph.value_info, *graph.output]
    for value in values:
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(
            dim.HasField("dim_value") for dim in shape.dim
        ):
            dims.setdefault(value.name, tuple(dim.dim_value for dim in shape.dim))
    for node in graph.node:
        if node.op_type == "Constant" and "value" in {item.name for item in node.attribute}:
            dims.setdefault(node.output[0], tuple(attributes(node)["value"].dims))
    return dims


def _fix_batch(value: Any, path: Path) -> None:
    """Make a symbolic batch 1.

    Raises:
        ReidEdgeError: Another batch, or another dimension that is not static.
    """
    dims = value.type.tensor_type.shape.dim
    shown = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims]
    if not dims or any(not dim.HasField("dim_value") or dim.dim_value < 1 for dim in dims[1:]):
        raise ReidEdgeError(
            "%s: input %s must have static dimensions except for the batch, got %s; export it with a "
            "fixed height and width." % (path, value.name, shown)
        )
    if dims[0].HasField("dim_value") and dims[0].dim_value > 1:
        raise ReidEdgeError(
            "%s: input %s must have batch 1 or a dynamic batch, got %s; give the batch to the "
            "predictor instead." % (path, value.name, shown)
        )
    dims[0].dim_value = 1

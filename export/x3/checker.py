"""Where each node of an ONNX model runs on the Horizon X3, judged by the operator table.

Done as the vendor documents it: constants are folded, BatchNormalization and Relu go into the
convolution before them, the Add of a residual connection too, and an operator that breaks a limit
of its BPU kernel falls to the CPU. What goes beyond the documents is marked as an assumption;
``hb_mapper checker`` has the last word.
"""

from __future__ import annotations

import onnx
from onnx import NodeProto

from export.x3.check_report import (
    BPU,
    CPU,
    FOLDED,
    UNSUPPORTED,
    BrokenLimit,
    CheckReport,
    NodeCheck,
)
from export.x3.conditions import CONDITIONS
from export.x3.header import header_problems, input_shapes
from export.x3.operators import Limit, operator_table
from export.x3.partition import partition
from export.x3.quantities import QUANTITIES
from export.x3.tensors import fixed_tensors
from export.x3.view import FLATTENING, View, flattened_map, shape_text
from runtime.errors import ReidEdgeError

_CONVOLUTIONS = ("Conv", "ConvTranspose", "Gemm")
_SHORTCUTS = ("Add", "Sum")
_OWN_DOMAINS = ("", "ai.onnx")

_NO_CONV = "without a convolution in front to be fused into it is a BPU operator of its own"
_FLATTENED = "flattening in front of a Gemm goes into the convolution that the Gemm becomes"
_RESHAPED = "a BPU operator makes a 4-D map; for fewer dimensions the compiler adds a CPU Reshape"
_SWISH = (
    "x * Sigmoid(x) beyond the size limit runs on the CPU, as the table says; a published log of "
    "hb_mapper 1.15.5 shows one BPU lookup instead"
)
_PASSIVE = (
    "an operator that only passes its input's scale on stays on the BPU beside a BPU operator"
)
_UNKNOWN = "unknown shapes keep the limits"


def check_model(model: onnx.ModelProto) -> CheckReport:
    """Judge every node of ``model``, which may be any ONNX model and is not changed.

    Raises:
        ReidEdgeError: The nodes are out of order, or shape inference fails.
    """
    try:
        return _Checker(model).report()
    except onnx.shape_inference.InferenceError as error:
        reason = " ".join(str(error).split())
        raise ReidEdgeError(
            "The ONNX model is not valid, shape inference says %r; export it again." % reason
        ) from None


class _Checker:
    """One run."""

    def __init__(self, model: onnx.ModelProto):
        self.table = operator_table()
        self.model = model
        self.tensors = fixed_tensors(model)
        self.nodes = list(model.graph.node)
        self.producers = {t: n for n in self.nodes for t in n.output if t}
        self.consumers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for tensor in dict.fromkeys(node.input):
                self.consumers.setdefault(tensor, []).append(node)
        self.outputs = {o.name for o in model.graph.output}
        self.opset = max(
            (o.version for o in model.opset_import if o.domain in _OWN_DOMAINS), default=0
        )
        _check_order(self.nodes, self.producers)
        self.made_by: dict[str, NodeCheck] = {}
        self.check_of: dict[int, NodeCheck] = {}  # by the identity of nodes, which self.nodes keeps

    def report(self) -> CheckReport:
        checks = []
        for index, node in enumerate(self.nodes):
            check = self._check(node, node.name or "%s_%d" % (node.op_type, index))
            checks.append(check)
            self.check_of[id(node)] = check
            self.made_by.update((t, check) for t in node.output if t)
        for node, check in zip(self.nodes, checks):
            self._absorb_flattening(node, check)
        for node, check in zip(self.nodes, checks):
            self._note_reshape(node, check)
        self._settle_passive(checks)
        segments, traffic = partition(self.model, self.nodes, checks, self.tensors)
        return CheckReport(
            march=self.table.march,
            opset=self.opset,
            ir_version=self.model.ir_version,
            inputs=input_shapes(self.model, self.tensors),
            nodes=checks,
            segments=segments,
            traffic=traffic,
            problems=header_problems(self.model, self.opset, checks, self.tensors),
            sources=dict(self.table.sources),
        )

    # -- one node --------------------------------------------------------------------------------

    def _check(self, node: NodeProto, name: str) -> NodeCheck:
        check = NodeCheck(name, node.op_type, BPU)
        row = self.table.operators.get(node.op_type)
        if self.tensors.is_constant_node(node):
            check.on, check.reason = FOLDED, "constant"
        elif node.domain not in _OWN_DOMAINS:
            check.on, check.reason = UNSUPPORTED, "the domain %r is not ONNX's own" % node.domain
        elif row is None:
            check.on, check.reason = UNSUPPORTED, "not in the toolchain's list of operators"
        elif row.on == "none":
            check.on, check.reason = UNSUPPORTED, "listed as not integrated; conversion would stop"
        elif node.op_type == "Dropout":
            check.on, check.reason = FOLDED, "removed"
        elif row.on == "folded":
            check.on, check.reason = UNSUPPORTED, "only folded, which needs a static shape"
        elif row.on == "CPU":
            check.reason = "no BPU kernel" + (": " + row.note if row.note else "")
            self._to_cpu(node, check)
        elif not self._fuse(node, check):
            self._judge(node, check)
        return check

    def _judge(self, node: NodeProto, check: NodeCheck) -> None:
        """Hold a node against the limits of its BPU kernel."""
        broken, unknown = self._broken(node, "BPU")
        if broken:
            check.broken = tuple(broken)
            check.reason = "; ".join(map(str, broken))
            self._to_cpu(node, check)
            if node.op_type == "Sigmoid" and self._is_swish(node):
                check.assumption = _SWISH
        elif unknown:
            check.assumption = _UNKNOWN
        elif node.op_type in ("BatchNormalization", "Relu"):
            check.assumption = "%s %s" % (node.op_type, _NO_CONV)

    def _to_cpu(self, node: NodeProto, check: NodeCheck) -> None:
        """Put a node on the CPU, or nowhere if it breaks a limit of that kernel as well."""
        broken, unknown = self._broken(node, "CPU")
        check.on = UNSUPPORTED if broken else CPU
        if broken:
            check.broken += tuple(broken)
            check.reason += "; on the CPU: " + "; ".join(map(str, broken))
        elif unknown:
            check.assumption = check.assumption or _UNKNOWN

    def _broken(self, node: NodeProto, device: str) -> tuple[list[BrokenLimit], bool]:
        """The limits a node breaks, and whether one could not be checked."""
        view = self._view(node)
        broken: list[BrokenLimit] = []
        unknown = False
        for limit in self.table.limits_of(node.op_type, device):
            if limit.when and not CONDITIONS[limit.when](view):
                continue
            values = QUANTITIES[limit.quantity](view)
            if values is None:
                unknown = True
                continue
            wrong = [v for v in values if not limit.admits(v)]
            if wrong:
                broken.append(_broken_limit(limit, wrong[0]))
        if node.op_type == "MatMul" and device == "BPU":
            unknown |= view.shapes(node.input) is None
            broken += self._matmul(view)
        return broken, unknown and not broken

    def _matmul(self, view: View) -> list[BrokenLimit]:
        shapes = view.shapes(view.node.input)
        left, right = ("constant" if view.is_constant(t) else "feature" for t in view.node.input)
        patterns = [p for p in self.table.matmul if p.operands == (left, right)]
        if shapes is None or any(p.matches(shapes[0], shapes[1], (left, right)) for p in patterns):
            return []
        actual = "%s @ %s (%s, %s)" % (shape_text(shapes[0]), shape_text(shapes[1]), left, right)
        allowed = " or ".join(sorted({"%s @ %s" % (p.left, p.right) for p in patterns}))
        return [BrokenLimit(BPU, "operand shapes", actual, allowed, self.table.matmul[0].source)]

    # -- neighbours ------------------------------------------------------------------------------

    def _fuse(self, node: NodeProto, check: NodeCheck) -> bool:
        """Let the convolution in front compute this node too, where the toolchain does so."""
        if node.op_type == "BatchNormalization":
            target = self._only_for(node.input[0], _CONVOLUTIONS)
        elif node.op_type == "Relu":
            before = (*_CONVOLUTIONS, "BatchNormalization", *_SHORTCUTS)
            target = self._only_for(node.input[0], before)
            if target is not None and target.op == "BatchNormalization" and not target.fused_into:
                target = None
        elif node.op_type in _SHORTCUTS and not self._broken(node, "BPU")[0]:
            if any(t in self.tensors.constants for t in node.input):
                return False
            found = (self._only_for(t, ("Conv", "BatchNormalization")) for t in node.input)
            target = next((c for c in found if c and (c.op == "Conv" or c.fused_into)), None)
        else:
            return False
        if target is None:
            return False
        check.fused_into = target.fused_into or target.name
        check.reason = "fused into %s" % check.fused_into
        return True

    def _only_for(self, tensor: str, ops: tuple[str, ...]) -> NodeCheck | None:
        """The BPU node that makes ``tensor`` for one reader, if it is one of ``ops``."""
        check = self.made_by.get(tensor)
        if check is None or check.on != BPU or check.op not in ops or tensor in self.outputs:
            return None
        return check if len(self.consumers.get(tensor, [])) == 1 else None

    def _absorb_flattening(self, node: NodeProto, check: NodeCheck) -> None:
        readers = self.consumers.get(node.output[0], []) if node.op_type in FLATTENING else []
        if check.on != CPU or len(readers) != 1 or readers[0].op_type != "Gemm":
            return
        gemm = self.check_of[id(readers[0])]
        if gemm.on == BPU and flattened_map(self._view(readers[0])) is not None:
            check.on, check.fused_into = BPU, gemm.name
            check.reason, check.assumption = "fused into %s" % gemm.name, _FLATTENED

    def _note_reshape(self, node: NodeProto, check: NodeCheck) -> None:
        """What is made with fewer than four dimensions and not read by the BPU gets a Reshape."""
        tensor = node.output[0]
        if check.on != BPU or len(self.tensors.shapes.get(tensor, (0,) * 4)) == 4:
            return
        readers = self.consumers.get(tensor, [])
        if not any(self.check_of[id(r)].on == BPU for r in readers):
            check.assumption = check.assumption or _RESHAPED

    def _settle_passive(self, checks: list[NodeCheck]) -> None:
        """Send passive operators without a BPU operator beside them to the CPU."""
        passive = {
            i
            for i, (node, check) in enumerate(zip(self.nodes, checks))
            if check.on == BPU
            and not check.fused_into
            and self.table.operators[node.op_type].quantization == "passive"
        }
        index = {id(c): i for i, c in enumerate(checks)}
        beside: dict[int, set[int]] = {i: set() for i in range(len(checks))}
        held = set()  # beside a BPU operator; the model's input counts, it is preprocessed there
        for i, node in enumerate(self.nodes):
            for tensor in node.input:
                if tensor in self.made_by:
                    j = index[id(self.made_by[tensor])]
                    beside[i].add(j)
                    beside[j].add(i)
                elif tensor in self.tensors.inputs:
                    held.add(i)
        held |= {i for i, c in enumerate(checks) if c.on == BPU and i not in passive}
        frontier, reached = list(held), set()
        while frontier:
            i = frontier.pop()
            for j in beside[i] if checks[i].on == BPU else ():
                if j in passive and j not in reached:
                    reached.add(j)
                    frontier.append(j)
        for i in sorted(passive):
            if i in reached or i in held:
                checks[i].assumption = checks[i].assumption or _PASSIVE
            else:
                checks[i].reason = "keeps the BPU's limits, but no BPU operator is beside it"
                checks[i].assumption = _PASSIVE
                self._to_cpu(self.nodes[i], checks[i])

    def _is_swish(self, node: NodeProto) -> bool:
        readers = self.consumers.get(node.output[0], [])
        return any(
            r.op_type == "Mul" and set(r.input) == {node.input[0], node.output[0]} for r in readers
        )

    def _view(self, node: NodeProto) -> View:
        return View(node, self.tensors, self.producers, self.consumers, self.opset)


def _check_order(nodes: list[NodeProto], producers: dict[str, NodeProto]) -> None:
    made: set[str] = set()
    for node in nodes:
        early = [t for t in node.input if t in producers and t not in made]
        if early:
            raise ReidEdgeError(
                "The ONNX model is not valid: node %r reads tensor %r before another node makes "
                "it; export the model again." % (node.name or node.op_type, early[0])
            )
        made.update(node.output)


def _broken_limit(limit: Limit, actual: int | float | str) -> BrokenLimit:
    return BrokenLimit(limit.device, limit.quantity, actual, limit.describe(), limit.source)

"""What the operator checker found, for programs and for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

BPU, CPU, UNSUPPORTED, FOLDED = "BPU", "CPU", "unsupported", "folded"
PLACES = (BPU, CPU, UNSUPPORTED, FOLDED)
_SHOWN = 60  # characters of a node name


@dataclass(frozen=True)
class BrokenLimit:
    """A limit that a node does not keep.

    Attributes:
        device: Whose kernel has the limit: ``"BPU"`` or ``"CPU"``.
        quantity: What is limited, as in the operator table.
        actual: The node's value.
        allowed: The allowed values, in words.
        source: Key of the table's sources.
    """

    device: str
    quantity: str
    actual: int | float | str
    allowed: str
    source: str

    def __str__(self) -> str:
        actual = "%g" % self.actual if isinstance(self.actual, float) else self.actual
        return "%s is %s, allowed %s" % (self.quantity, actual, self.allowed)


@dataclass
class NodeCheck:
    """One node.

    Attributes:
        name: The node's name, or its type and position where it has none.
        op: ONNX operator type.
        on: ``"BPU"``, ``"CPU"``, ``"unsupported"``, or ``"folded"`` where nothing is left to run.
        reason: Why it is not on the BPU, or what it became; empty for a plain BPU node.
        broken: The limits it breaks.
        fused_into: Name of the node that computes it too.
        segment: Number of its BPU segment, counted from 0.
        assumption: What the verdict supposes beyond the vendor's documents.
    """

    name: str
    op: str
    on: str
    reason: str = ""
    broken: tuple[BrokenLimit, ...] = ()
    fused_into: str = ""
    segment: int | None = None
    assumption: str = ""


@dataclass(frozen=True)
class Crossing:
    """A tensor that passes between BPU and CPU; ``bytes`` is its size in the ONNX file's type."""

    tensor: str
    direction: str
    bytes: int


@dataclass(frozen=True)
class Traffic:
    """What passes between BPU and CPU in one inference.

    Sizes are those of the ONNX tensors, float32 in a float network, which is what the CPU side
    reads or writes; the BPU side holds a quarter of it in int8. A tensor counts once for each
    direction.

    Attributes:
        crossings: The tensors.
        output_bytes: Outputs made by the BPU; every model pays these.
        unknown: Crossing tensors of unknown size, not in the sums.
    """

    crossings: tuple[Crossing, ...] = ()
    output_bytes: int = 0
    unknown: int = 0

    def bytes(self, direction: str = "") -> int:
        """Sum of one direction (``"BPU to CPU"``, ``"CPU to BPU"``) or both."""
        return sum(c.bytes for c in self.crossings if direction in ("", c.direction))

    def to_dict(self) -> dict[str, Any]:
        return {
            "bpu_to_cpu_bytes": self.bytes("BPU to CPU"),
            "cpu_to_bpu_bytes": self.bytes("CPU to BPU"),
            "total_bytes": self.bytes(),
            "output_bytes": self.output_bytes,
            "tensors_of_unknown_size": self.unknown,
            "crossings": [asdict(c) for c in self.crossings],
        }


@dataclass
class CheckReport:
    """The whole model.

    Attributes:
        march: Name of the BPU.
        opset, ir_version: From the file's header.
        inputs: Name -> shape; None for open dimensions.
        nodes: In graph order.
        segments: Number of BPU segments; 1 is ideal.
        traffic: Between BPU and CPU.
        problems: Why the toolchain refuses the file as it is; without those of single nodes.
        sources: Key -> document, for the keys of broken limits.
    """

    march: str
    opset: int
    ir_version: int
    inputs: dict[str, list[int | None]]
    nodes: list[NodeCheck]
    segments: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    problems: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Nodes per place; all four places are there."""
        found = Counter(n.on for n in self.nodes)
        return {place: found[place] for place in PLACES}

    @property
    def ok(self) -> bool:
        """Whether the toolchain would convert the model."""
        return not self.problems and not self.counts[UNSUPPORTED]

    @property
    def assumptions(self) -> list[str]:
        """What the verdicts suppose, each once, with the number of nodes."""
        found = Counter(n.assumption for n in self.nodes if n.assumption)
        return ["%s (%d nodes)" % item if item[1] > 1 else item[0] for item in found.items()]

    def on(self, place: str) -> list[NodeCheck]:
        """The nodes of one place, in graph order."""
        return [n for n in self.nodes if n.on == place]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "march": self.march,
            "ok": self.ok,
            "opset": self.opset,
            "ir_version": self.ir_version,
            "inputs": self.inputs,
            "counts": self.counts,
            "segments": self.segments,
            "traffic": self.traffic.to_dict(),
            "problems": list(self.problems),
            "assumptions": self.assumptions,
            "nodes": [{**asdict(n), "broken": [asdict(b) for b in n.broken]} for n in self.nodes],
            "sources": dict(self.sources),
        }

    def text(self, every_node: bool = False) -> str:
        """A table for people: the nodes off the BPU, or every node, then the sums."""
        shown = [n for n in self.nodes if every_node or n.on in (CPU, UNSUPPORTED)]
        lines = table(
            ["node", "operator", "on", "segment", "why"],
            [
                [
                    n.name if len(n.name) <= _SHOWN else "..." + n.name[3 - _SHOWN :],
                    n.op,
                    n.on,
                    "" if n.segment is None else str(n.segment),
                    n.reason,
                ]
                for n in shown
            ],
        )
        if not shown:
            lines = ["Every node runs on the BPU or is folded."]
        counts = ", ".join("%d %s" % (v, k) for k, v in self.counts.items() if v)
        lines += [
            "",
            "%s: %d nodes: %s; BPU segments: %d"
            % (self.march, len(self.nodes), counts, self.segments),
            "between BPU and CPU: %s in %d tensors per inference (%s to the CPU, %s to the BPU)"
            % (
                size_text(self.traffic.bytes()),
                len(self.traffic.crossings) + self.traffic.unknown,
                size_text(self.traffic.bytes("BPU to CPU")),
                size_text(self.traffic.bytes("CPU to BPU")),
            ),
        ]
        lines += ["problem: " + p for p in self.problems]
        lines += ["assumed: " + a for a in self.assumptions]
        return "\n".join(lines) + "\n"


def size_text(size: int) -> str:
    """``"1.5 MiB"``."""
    if size < 1024:
        return "%d B" % size
    return "%.1f KiB" % (size / 1024) if size < 1024**2 else "%.1f MiB" % (size / 1024**2)


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Lines with aligned columns."""
    cells = [head, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in cells]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]

"""A network and its exported graph while it is fine-tuned, and the checked way between the two."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calibration.table import CalibrationTable
from export.executor import Executor
from export.graph import Graph
from export.parity import FLOAT_RELATIVE_L2, compare
from export.placement.base import Placement
from export.quantize import AUTO_METHODS, BIAS_CROPS, POLICIES
from export.ranges import model_sha256, refuse_dead
from export.rewrites import fold_batchnorm, name_nodes
from export.trace import trace
from models.checkpoint import LoadedNetwork
from runtime.errors import ReidEdgeError, VerificationError
from training.qat_layers import FoldedLayer, match_layers
from training.qat_options import QatOptions
from training.qat_placement import chosen_by_export
from training.qat_student import Student, embed, teacher
from training.qat_table import collect_histograms, learned_table, scales_of
from training.qat_unfold import State, channel_masks, equalized, frozen_layers, unfold

Embed = Callable[[np.ndarray], np.ndarray]

EQUALIZE_CROPS = 32
CHECK_CROPS = 8


def float_graph(loaded: LoadedNetwork) -> Graph:
    """The float graph an export quantizes: traced, folded, named."""
    graph = Graph(trace(loaded.for_export(), loaded.input))
    fold_batchnorm(graph)
    name_nodes(graph)
    return graph


@dataclass
class QatTask:
    """One network with its graph, and the way between the two.

    Attributes:
        loaded: The network, on the CPU, in eval mode.
        calibration: (M, 3, H, W) float32.
        options: How to fine-tune.
        graph: Its float graph: the teacher.
        keep_float: Names of its nodes that were chosen to stay in float.
        placement: Where it is quantized.
        layers, ambiguous: Of ``match_layers``.
        method: Calibration method; settled by ``start``.
    """

    loaded: LoadedNetwork
    calibration: np.ndarray
    options: QatOptions
    graph: Graph
    keep_float: frozenset[str]
    placement: Placement
    layers: dict[str, FoldedLayer]
    ambiguous: set[str]
    method: str = ""
    _reference: np.ndarray | None = None

    @classmethod
    def of(cls, loaded: LoadedNetwork, calibration: np.ndarray, options: QatOptions) -> QatTask:
        graph = float_graph(loaded)
        keep_float = options.keep_float
        if keep_float is None:
            keep_float = chosen_by_export(graph, calibration, options.target, options.threads)
        placement = POLICIES[options.target](graph, keep_float)
        if not placement.weights:
            raise ReidEdgeError(
                "No layer of this network can run in INT8, so there is nothing to train for."
            )
        layers, ambiguous = match_layers(graph, loaded.network, loaded.input.shape)
        return cls(loaded, calibration, options, graph, keep_float, placement, layers, ambiguous)

    def cosine(self, run: Embed) -> float:
        """Mean cosine of a network's embeddings to the float network's, on the calibration crops."""
        if self._reference is None:
            self._reference = embed(teacher(self.graph, "cpu"), self.calibration)
        return compare(self._reference, run(self.calibration)).cosine_mean

    def start(self) -> Student:
        """The quantized network as an export without any training would have it."""
        options = self.options
        graph, _ = equalized(self.graph, self.layers, self.calibration[:EQUALIZE_CROPS])
        masks = channel_masks(graph, self.layers)
        histograms = collect_histograms(graph, self.calibration, options.threads)
        found = CalibrationTable.from_histograms(
            histograms.values(), "minmax", model_sha256(graph.to_model())
        )
        refuse_dead(graph, found)
        students = {}
        for method in AUTO_METHODS if options.method == "auto" else (options.method,):
            scales = scales_of(found.with_method(method), self.placement, options.target)
            students[method] = Student(graph, self.placement, scales, masks)
        cosines = {m: self.cosine(s.embed) for m, s in students.items()}
        self.method = max(cosines, key=lambda m: cosines[m])
        student = students[self.method]
        plain = student.state()
        student.correct_biases(self.calibration[:BIAS_CROPS])
        if not self.cosine(student.embed) > cosines[self.method]:
            student.load_state_dict(plain)
        return student.move(options.device)

    def written_back(self, student: Student) -> State:
        """The student's weights as a state dict of the network, checked to compute the same."""
        tuned = student.tuned()
        state = unfold(tuned, self.layers, self.graph, self.loaded.network.state_dict())
        images = self.calibration[:CHECK_CROPS]
        expected = embed(Executor(tuned), images)
        found = embed(_filled(self.loaded, state).network, images)
        error = compare(expected, found).relative_l2_max
        if not error <= FLOAT_RELATIVE_L2:
            raise VerificationError(
                "What was trained in the graph does not fit back into the network: its embeddings "
                "are %.1e away where %.0e is allowed; please report the network that did it."
                % (error, FLOAT_RELATIVE_L2)
            )
        return state

    def frozen(self, student: Student) -> dict[str, str]:
        """Name of each layer that the student did not, or not wholly, train -> the reason."""
        return frozen_layers(student.graph, self.layers, self.loaded.network, self.ambiguous)

    def table(self, state: State, student: Student, record: dict[str, Any]) -> CalibrationTable:
        """The table that makes an export of ``state`` quantize as the student does."""
        options, graph = self.options, float_graph(_filled(self.loaded, state))
        placement = POLICIES[options.target](graph, self.keep_float)
        if (placement.reads, placement.weights) != (self.placement.reads, self.placement.weights):
            raise VerificationError(
                "The trained network is traced to other layers than before; please report the "
                "network that did it."
            )
        return learned_table(
            graph, self.calibration, student.scales(), self.method, record, options.threads
        )


def _filled(loaded: LoadedNetwork, state: State) -> LoadedNetwork:
    network = copy.deepcopy(loaded.network)
    network.load_state_dict(state)
    return replace(loaded, network=network)

"""Segments and traffic: by hand on small graphs, by brute force on random ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.x3.check_report import BPU, CPU, NodeCheck, size_text
from export.x3.partition import partition
from export.x3.tensors import fixed_tensors
from tests.export.small_models import node
from tests.export.x3.models import check, conv, x3_model


def bpu_cpu_bpu():
    """Convolution, a Transpose on the CPU, and a convolution."""
    a, a_weights = conv("x", "a", (4, 3, 1, 1))
    turned = node("Transpose", "a", "t", perm=[0, 1, 3, 2])
    b, b_weights = conv("t", "y", (5, 4, 1, 1))
    return check([a, turned, b], {**a_weights, **b_weights}, (1, 3, 10, 6))


def test_a_cpu_node_in_the_middle_makes_two_segments():
    report = bpu_cpu_bpu()
    assert [n.segment for n in report.nodes] == [0, None, 1] and report.segments == 2
    size = 4 * 10 * 6 * 4  # channels * H * W * bytes of float32
    assert report.traffic.bytes("BPU to CPU") == report.traffic.bytes("CPU to BPU") == size
    assert report.traffic.bytes() == 2 * size
    assert report.traffic.output_bytes == 5 * 10 * 6 * 4
    assert {(c.tensor, c.direction) for c in report.traffic.crossings} == {
        ("a", "BPU to CPU"),
        ("t", "CPU to BPU"),
    }


def test_a_branch_on_the_cpu_splits_what_is_behind_it_only():
    """c -> (Transpose -> d), (e): d comes back from the CPU, e never left."""
    c, cw = conv("x", "c", (4, 3, 1, 1))
    d, dw = conv("t", "d", (4, 4, 1, 1))
    e, ew = conv("c", "e", (4, 4, 1, 1))
    nodes = [c, node("Transpose", "c", "t", perm=[0, 1, 3, 2]), d, e, node("Mul", "d e", "y")]
    report = check(nodes, {**cw, **dw, **ew}, (1, 3, 8, 8))
    assert [n.segment for n in report.nodes] == [0, None, 1, 0, 1] and report.segments == 2


def test_a_tensor_read_twice_on_the_other_side_counts_once():
    a, weights = conv("x", "a", (4, 3, 1, 1))
    nodes = [a, node("Sub", "a a", "s"), node("Max", "a s")]
    report = check(nodes, weights, (1, 3, 8, 8))
    assert [c.tensor for c in report.traffic.crossings] == ["a"]
    assert report.traffic.output_bytes == 0  # made by the CPU


def test_removed_nodes_are_looked_through():
    a, weights = conv("x", "a", (4, 3, 1, 1))
    b, b_weights = conv("d", "y", (4, 4, 1, 1))
    report = check([a, node("Dropout", "a", "d"), b], {**weights, **b_weights})
    assert report.segments == 1 and not report.traffic.crossings


def test_tensors_of_unknown_size_are_counted_apart():
    a, weights = conv("x", "a", (4, 3, 1, 1))
    nodes = [a, node("Transpose", "a", "y", perm=[0, 1, 3, 2])]
    traffic = check(nodes, weights, (1, 3, "h", "w")).traffic
    assert traffic.unknown == 1 and traffic.bytes() == 0


def test_text_and_dictionary_say_the_same():
    report = bpu_cpu_bpu()
    text = report.text()
    assert "t_node  Transpose  CPU           no BPU kernel" in text and "a_node" not in text
    assert "3 nodes: 2 BPU, 1 CPU; BPU segments: 2" in text
    assert "1.9 KiB in 2 tensors per inference" in text  # 2 * 960 bytes
    assert "a_node" in report.text(every_node=True)
    data = json.loads(json.dumps(report.to_dict()))
    assert data["counts"] == {"BPU": 2, "CPU": 1, "unsupported": 0, "folded": 0}
    assert data["traffic"]["total_bytes"] == report.traffic.bytes() == 1920
    assert data["nodes"][1] == {
        "name": "t_node", "op": "Transpose", "on": "CPU", "reason": "no BPU kernel", "broken": [],
        "fused_into": "", "segment": None, "assumption": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "text"), [(1023, "1023 B"), (1024, "1.0 KiB"), (3 * 1024**2 // 2, "1.5 MiB")]
)
def test_sizes_for_people(size, text):
    assert size_text(size) == text


@st.composite
def judged_graphs(draw):
    """Sums of earlier tensors, each node on the BPU or the CPU at will."""
    count = draw(st.integers(1, 9))
    nodes, checks = [], []
    for i in range(count):
        earlier = st.sampled_from(["x", *("t%d" % j for j in range(i))])
        inputs = draw(st.lists(earlier, min_size=1, max_size=3, unique=True))
        nodes.append(node("Sum", " ".join(inputs), "t%d" % i))
        checks.append(NodeCheck("n%d" % i, "Sum", draw(st.sampled_from([BPU, CPU]))))
    return nodes, checks


@settings(max_examples=60, deadline=None)
@given(judged_graphs())
def test_segments_are_connected_and_never_re_entered(graph):
    nodes, checks = graph
    model = x3_model(nodes, shape=(1, 2, 3, 4), outputs=("t%d" % (len(nodes) - 1),))
    count, traffic = partition(model, nodes, checks, fixed_tensors(model))
    reads = [{int(t[1:]) for t in n.input if t != "x"} for n in nodes]
    numbers = [c.segment for c in checks]
    assert all((c.on == BPU) == (c.segment is not None) for c in checks)
    assert set(numbers) - {None} == set(range(count))
    after = _reachable(reads)
    for i, segment in enumerate(numbers):
        for j in range(len(nodes)):
            if segment is None or numbers[j] != segment or j not in after[i]:
                continue
            between = {k for k in after[i] if j in after[k]}
            assert all(numbers[k] == segment for k in between), (i, j)
    for segment in range(count):
        members = {i for i, s in enumerate(numbers) if s == segment}
        assert _connected(members, reads)
    crossings = {
        ("t%d" % j, "%s to %s" % (checks[j].on, checks[i].on))
        for i in range(len(nodes))
        for j in reads[i]
        if checks[i].on != checks[j].on
    }
    assert {(c.tensor, c.direction) for c in traffic.crossings} == crossings
    assert traffic.bytes() == len(crossings) * 24 * np.dtype(np.float32).itemsize


def _reachable(reads):
    after = [set() for _ in reads]
    for i in reversed(range(len(reads))):
        for j in range(i + 1, len(reads)):
            if i in reads[j]:
                after[i] |= {j} | after[j]
    return after


def _connected(members, reads):
    seen, frontier = set(), [min(members)]
    while frontier:
        i = frontier.pop()
        seen.add(i)
        near = {j for j in members if j in reads[i] or i in reads[j]}
        frontier += near - seen
    return seen == members

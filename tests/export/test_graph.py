"""Graph: reading, editing and writing of ONNX models."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from export.graph import Graph, attribute, set_attribute
from tests.export.small_models import node, normal, run, small_model


@pytest.fixture
def graph():
    """x -> conv -> relu -> (a: exp) (b: sigmoid) -> y = a + b"""
    nodes = [
        node("Conv", "x w b", "c", "conv"),
        node("Relu", "c", "r", "relu"),
        node("Exp", "r", "e", "exp"),
        node("Sigmoid", "r", "s", "sigmoid"),
        node("Add", "e s", "y", "add"),
    ]
    return Graph(small_model(nodes, {"w": normal(2, 3, 1, 1), "b": normal(2, seed=1)}))


def test_reading(graph):
    assert (graph.input_name, graph.output_name, graph.opset) == ("x", "y", 13)
    assert graph.producer("r").name == "relu"
    assert graph.producer("x") is None
    assert graph.producer("w") is None
    assert [n.name for n in graph.consumers("r")] == ["exp", "sigmoid"]
    assert graph.only_consumer("c").name == "relu"
    assert graph.only_consumer("r") is None  # two readers
    assert graph.only_consumer("y") is None  # the output: someone outside reads it
    assert graph.constant("b").shape == (2,)
    assert graph.constant("c") is None


def test_shapes_keep_the_batch_free(graph):
    shapes = graph.shapes()
    assert shapes["x"] == ("batch", 3, 9, 7)
    assert shapes["y"] == shapes["r"] == ("batch", 2, 9, 7)
    assert shapes["w"] == (2, 3, 1, 1)


def test_constant_nodes_become_initializers():
    nodes = [
        node("Constant", "", "k", value=numpy_helper.from_array(normal(3, 1, 1))),
        node("Constant", "", "f", value_float=2.5),
        node("Constant", "", "i", value_ints=[0, -1]),
        node("Mul", "x k", "m"),
        node("Mul", "m f", "n"),
        node("Reshape", "n i", "y"),
    ]
    model = small_model(nodes)
    graph = Graph(model)
    assert [n.op_type for n in graph.nodes] == ["Mul", "Mul", "Reshape"]
    assert graph.initializers["f"].dtype == np.float32
    assert graph.initializers["i"].dtype == np.int64
    images = normal(2, 3, 9, 7)
    np.testing.assert_array_equal(run(graph.to_model(), images), run(model, images))


def test_constant_without_a_tensor_is_refused():
    model = small_model([node("Relu", "x")])
    model.graph.node.insert(0, helper.make_node("Constant", [], ["text"], "text", value_string="a"))
    with pytest.raises(ValueError, match="text"):
        Graph(model)


def test_more_than_one_output_is_refused(graph):
    model = graph.to_model()
    model.graph.output.append(onnx.ValueInfoProto(name="r"))
    with pytest.raises(ValueError, match="one input and one output, got 1 and 2"):
        Graph(model)


def test_fresh_names_are_new_and_readable(graph):
    assert graph.fresh("new") == "new"
    for taken in ("x", "w", "r", "relu"):
        assert graph.fresh(taken) == taken + "_1"
    graph.add_constant("r_1", np.float32(1))
    assert graph.fresh("r") == "r_2"
    assert graph.add_constant("r", np.float32(1)) == "r_3"  # r_2 is taken, used or not


def test_the_model_handed_in_is_not_changed(graph):
    model = graph.to_model()
    before = model.SerializeToString()
    edited = Graph(model)
    set_attribute(edited.nodes[0], "group", 7)
    edited.nodes[1].input[0] = "elsewhere"
    edited.initializers["w"] = np.zeros(1, np.float32)
    assert model.SerializeToString() == before
    twin = graph.copy()
    twin.nodes[0].input[0] = "elsewhere"
    assert graph.nodes[0].input[0] == "x"


def test_redirect_all_readers(graph):
    graph.add_node("Tanh", ["c"], ["t"])
    graph.redirect("r", "t")
    assert not graph.consumers("r")
    model = graph.to_model()
    assert "Relu" not in {n.op_type for n in model.graph.node}
    images = normal(2, 3, 9, 7)
    (t,) = run(model, images, ["t"])
    np.testing.assert_allclose(run(model, images), np.exp(t) + 1 / (1 + np.exp(-t)), rtol=1e-5)


def test_redirect_only_some_readers(graph):
    graph.add_node("Tanh", ["c"], ["t"])
    graph.redirect("r", "t", only=[graph.producer("e")])
    assert (graph.producer("e").input[0], graph.producer("s").input[0]) == ("t", "r")


def test_redirecting_the_output_keeps_its_name(graph):
    graph.remove(graph.producer("y"))
    graph.redirect("y", "s")  # the network now ends at the sigmoid
    model = graph.to_model()
    assert model.graph.output[0].name == "y"
    assert [n.op_type for n in model.graph.node] == ["Conv", "Relu", "Sigmoid"]
    assert run(model, normal(1, 3, 9, 7)).max() <= 1.0


def test_unused_nodes_and_initializers_are_dropped(graph):
    graph.add_constant("orphan", normal(4))
    graph.add_node("Exp", ["r"], ["nobody reads this"])
    graph.redirect("e", "s")
    model = graph.to_model()
    assert [n.op_type for n in model.graph.node] == ["Conv", "Relu", "Sigmoid", "Add"]
    assert {t.name for t in model.graph.initializer} == {"w", "b"}


def test_metadata_and_versions_survive(graph):
    model = graph.to_model()
    helper.set_model_props(model, {"source": "test"})
    model = Graph(model).to_model()
    assert (model.ir_version, model.opset_import[0].version) == (7, 13)
    assert {p.key: p.value for p in model.metadata_props} == {"source": "test"}


def test_cycle_is_refused(graph):
    graph.producer("r").input[0] = "e"
    with pytest.raises(ValueError, match="cycle"):
        graph.to_model()


def test_attributes():
    conv = node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 1])
    assert attribute(conv, "auto_pad") == "SAME_UPPER"
    assert list(attribute(conv, "strides")) == [2, 1]
    assert attribute(conv, "group", 1) == 1
    set_attribute(conv, "strides", [3, 3])
    set_attribute(conv, "group", 4)
    assert list(attribute(conv, "strides")) == [3, 3]
    assert attribute(conv, "group", 1) == 4
    assert [a.name for a in conv.attribute].count("strides") == 1


def test_strided_initializers_are_written_correctly(graph):
    graph.initializers["w"] = np.asfortranarray(graph.initializers["w"])[::-1]
    written = Graph(graph.to_model()).initializers["w"]
    np.testing.assert_array_equal(written, normal(2, 3, 1, 1)[::-1])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_node_order_gives_the_same_network(data):
    """Random graphs, nodes shuffled: what is written is sorted, complete, and computes the same."""
    tensors, nodes = ["x"], []
    for i in range(data.draw(st.integers(1, 12))):
        op = data.draw(st.sampled_from(["Add", "Mul", "Sub", "Tanh"]))
        inputs = [data.draw(st.sampled_from(tensors)) for _ in range(1 if op == "Tanh" else 2)]
        nodes.append(node(op, " ".join(inputs), "t%d" % i))
        tensors.append("t%d" % i)
    nodes.append(node("Tanh", tensors[-1], "y"))
    model = small_model(nodes, shape=("batch", 3))
    graph = Graph(model)
    graph.nodes = data.draw(st.permutations(graph.nodes))
    written = graph.to_model()
    onnx.checker.check_model(written, full_check=True)  # refuses nodes that are out of order
    images = normal(2, 3, scale=0.5)
    np.testing.assert_array_equal(run(written, images), run(model, images))
    needed = {"y"}
    for n in reversed(nodes):
        if n.output[0] in needed:
            needed.update(n.input)
    assert {n.output[0] for n in written.graph.node} == needed - {"x"}

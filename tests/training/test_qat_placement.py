"""Fine-tuning leaves those layers in float that the export will leave, and says which."""

from __future__ import annotations

import pytest

import training.qat_placement
from export.placement import cpu
from tests.export.cli_helpers import drawn_pixels
from tests.training.qat_networks import Shallow, batches_of, loaded_of, settled
from training.qat import QatOptions, quantization_aware_finetune
from training.qat_placement import chosen_by_export
from training.qat_task import float_graph


@pytest.fixture
def loaded():
    return loaded_of(settled(Shallow()))


def test_on_a_cpu_the_layers_that_were_timed_faster_stay_in_float(loaded, monkeypatch):
    slow = next(n.name for n in float_graph(loaded).nodes if "conv3" in n.name)

    def fastest(graph, table, image, threads):
        assert set(table.tensors) and image.shape == (1, 3, 64, 32) and threads == 1
        return frozenset({slow}), {}

    monkeypatch.setattr(training.qat_placement, "fastest_placement", fastest)
    images = drawn_pixels(16)
    results = [
        quantization_aware_finetune(
            loaded,
            batches_of(images[:8]),
            images[8:],
            QatOptions(target="cpu", method="mse", epochs=1, keep_float=given, threads=1),
        )
        for given in (None, frozenset())
    ]
    chosen, full = (r.table.selection for r in results)
    assert chosen["keep_float"] == [slow] and full["keep_float"] == []
    assert set(chosen["learned"]) < set(full["learned"])


def test_for_the_board_nothing_is_timed(loaded, monkeypatch):
    monkeypatch.setattr(training.qat_placement, "fastest_placement", None)
    graph = float_graph(loaded)
    assert chosen_by_export(graph, drawn_pixels(4), "xavier", 1) == frozenset()


def test_the_choice_for_a_cpu_is_one_the_export_may_make(loaded):
    graph = float_graph(loaded)
    kept = chosen_by_export(graph, drawn_pixels(4), "cpu", 1)
    assert kept in cpu.alternatives(graph).values()

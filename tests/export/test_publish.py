"""Publishing a run as the default network: what is stored is what is measured and what loads."""

from __future__ import annotations

import json

import pytest

from export.publish import main, publish
from models.zoo import default_calibration_table, default_network
from runtime.errors import ReidEdgeError
from tests.training.drawn_people import recipe, write_market
from training.cli import main as reid_train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run on drawn people."""
    import yaml

    folder = tmp_path_factory.mktemp("publish")
    data = write_market(folder / "market", 8, 6)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe().to_dict()))
    arguments = ["--recipe", path, "--data", data, "--out", folder / "run", "--threads", "1"]
    assert reid_train([str(a) for a in arguments]) == 0
    return folder / "run", data


def test_published_network_loads_with_its_card_and_ranges(trained, tmp_path, capsys):
    run, data = trained
    arguments = ["--run", run, "--calib", data, "--eval", data, "--zoo", tmp_path]
    assert main([str(a) for a in arguments]) == 0
    card = json.loads(capsys.readouterr().out)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "default.json", "default.pth", "default.ranges.json",
    ]  # fmt: skip
    assert {"fp32", "int8", "set"} <= set(card["accuracy"])
    loaded = default_network(tmp_path)
    assert loaded.trained and loaded.family == "reid-edge"
    assert any("research use only" in note for note in loaded.notes)
    assert default_calibration_table(tmp_path) == tmp_path / "default.ranges.json"


def test_an_unfinished_run_is_refused_and_nothing_replaced(trained, tmp_path):
    _, data = trained
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    (unfinished / "run.json").write_text(json.dumps({"status": "interrupted"}))
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    with pytest.raises(ReidEdgeError, match="interrupted, not finished"):
        publish(unfinished, data, data, None, zoo)
    assert list(zoo.iterdir()) == []


def test_help_names_the_command_that_writes_ranges(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "table of reid-train qat" in capsys.readouterr().out

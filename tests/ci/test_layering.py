"""The layering check itself: clean trees pass, each kind of violation is caught with its place."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / ".ci" / "layering.py"

spec = importlib.util.spec_from_file_location("layering", SCRIPT)
layering = importlib.util.module_from_spec(spec)
spec.loader.exec_module(layering)


def tree(folder, **files):
    """A checkout with the given ``room__file="source"`` files; ``__`` stands for a slash."""
    for name, source in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return folder


def violations(folder):
    return layering.check_tree(folder)[1]


def test_this_checkout_keeps_its_arrows():
    count, found = layering.check_tree(ROOT)
    assert found == []
    assert count >= 15  # the rooms were really read


@pytest.mark.parametrize(
    "file, source, reason",
    [
        ("runtime__a", "import os\nimport models.resnet\n", "runtime imports models.resnet"),
        ("runtime__a", "import os\nfrom calibration import table\n", "no other room"),
        ("runtime__a", "import os\nimport torch.nn as nn\n", "imports torch.nn, which is not"),
        ("runtime__a", "def f():\n    import onnx\n", "imports onnx, which is not"),
        ("runtime__a", "import os\nfrom onnxsim import simplify\n", "onnxsim.simplify"),
        ("runtime__a", "import importlib\nimportlib.import_module('torch')\n", "imports torch"),
        ("runtime__a", "import os\n__import__('torch')\n", "imports torch"),
        ("runtime__a", "try:\n    import onnxruntime\nexcept ImportError:\n    pass\n", "at once"),
        ("runtime__a", "def f():\n    import onnxruntime\n", "outside runtime/backends/"),
        ("runtime__a", "import os\nimport tensorrt\n", "inside a function"),
        (
            "runtime__a",
            "import os\nfrom runtime.backends import onnxruntime\n",
            "once it is needed",
        ),
        ("runtime__b__a", "import os\nfrom ...models import x\n", "runtime imports models.x"),
        ("runtime__a", "match 1:\n    case 1: pass\n", "not valid Python 3.8"),
        ("runtime__a", "x = 1\nwith (open('a') as a, open('b') as b): pass\n", "3.8"),
        ("follow_robot__a", "import os\nimport export.cli\n", "it may import runtime"),
        ("models__a", "import os\nimport runtime.bundle\n", "models imports runtime.bundle"),
        ("models__a", "import os\nimport runtime\n", "models imports runtime"),
        ("calibration__a", "import os\nimport models\n", "calibration imports models"),
        ("benchmarks__a", "import os\nimport export.cli\n", "benchmarks imports export.cli"),
        ("training__a", "import os\nfrom benchmarks.run import main\n", "benchmarks.run.main"),
        ("export__a", "x = 1\ndef f(:\n", "not valid Python"),
    ],
)
def test_violation_is_caught_on_its_line(tmp_path, file, source, reason):
    (found,) = violations(tree(tmp_path, **{file: source}))
    assert found.startswith(file.replace("__", "/") + ".py:2: "), found
    assert reason in found


@pytest.mark.parametrize(
    "file, source",
    [
        ("runtime__a", "import json, cv2, numpy\nfrom runtime.errors import ReidEdgeError\n"),
        ("runtime__a", "def f():\n    import tensorrt\n    import runtime.backends.onnxruntime\n"),
        ("runtime__backends__onnxruntime", "import onnxruntime\n"),
        ("runtime__a", "import torchless, onnx_like\n"),  # names that only begin alike
        ("runtime__a", "text = 'import torch'  # import onnx\n"),
        ("runtime__b__a", "from . import c\nfrom .. import d\nfrom ..e import f\n"),
        ("follow_robot__a", "from runtime.embedder import Embedder\n"),
        ("models__a", "import torch\nfrom runtime import contract\n"),
        ("models__a", "from runtime.contract import InputContract\nimport models.rga\n"),
        ("training__a", "from benchmarks import metrics\nimport benchmarks.datasets, models\n"),
        ("export__a", "import onnx, runtime.bundle, models, calibration.table, benchmarks\n"),
        ("export__a", "match 1:\n    case 1: pass\n"),  # host rooms may use newer Python
    ],
)
def test_what_the_table_allows_passes(tmp_path, file, source):
    assert violations(tree(tmp_path, **{file: source})) == []


def test_unknown_room_is_reported_and_tests_are_free(tmp_path):
    tree(tmp_path, tools__a="import os\n", tests__a="import models, torch\n")
    assert violations(tmp_path) == [
        "tools/a.py:1: tools is not in the table of rooms; add it to .ci/layering.py"
    ]


def run(folder):
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, check=False
    )


def test_command_exits_1_and_names_every_place(tmp_path):
    tree(tmp_path, runtime__a="import torch\nimport onnx\n", models__b="import export\n")
    result = run(tmp_path)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "models/b.py:1",
        "runtime/a.py:1",
        "runtime/a.py:2",
        "layering",
    ]
    assert lines[-1] == "layering: 2 files, 3 violations"


def test_command_passes_a_clean_tree_and_refuses_an_empty_one(tmp_path):
    assert run(tmp_path).returncode == 1  # nothing read is no proof
    assert run(tree(tmp_path, runtime__a="import numpy\n")).returncode == 0

"""The README's set-up commands can be read by .ci/run, which runs them as they stand."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

spec = importlib.util.spec_from_file_location("readme", ROOT / ".ci" / "readme.py")
readme = importlib.util.module_from_spec(spec)
spec.loader.exec_module(readme)

BLOCK = "<!-- command: %s -->\n```bash\n%s\n```\n"


def test_readme_has_the_two_commands_that_set_up_from_nothing():
    found = readme.commands(readme.README.read_text(encoding="utf-8"))
    assert list(found) == ["export", "test"]
    assert found["export"].endswith("reid-export --target xavier")
    assert found["test"].endswith("pytest -n 2 --dist loadfile")
    for command in found.values():
        first, *others = command.split(" && ")
        assert first == "python3 -m venv .venv"
        assert all(other.startswith(".venv/bin/") for other in others)
        assert "-c constraints.txt" in command


def test_continuous_integration_sets_up_by_these_commands_only():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.findall(r"\breadme (\w+)\n", script) == ["export", "test"]
    installs = re.findall(r"\S*pip install", script)
    assert installs == [".venv38/bin/pip install"] * 2  # the device side's own environment


def test_commands_are_found_by_name():
    text = "# Title\n" + BLOCK % ("a", "one && two") + "text\n" + BLOCK % ("b", "three")
    assert readme.commands(text) == {"a": "one && two", "b": "three"}


@pytest.mark.parametrize(
    "text",
    [
        "<!-- command: a -->\nno block\n",
        BLOCK % ("a", "two\nlines"),
        BLOCK % ("a", "one") + BLOCK % ("a", "two"),
    ],
)
def test_a_marker_that_cannot_be_run_is_an_error(text):
    with pytest.raises(ValueError, match="one line"):
        readme.commands(text)


def test_command_line(tmp_path, capsys):
    file = tmp_path / "README.md"
    file.write_text(BLOCK % ("a", "one && two"), encoding="utf-8")
    assert readme.main(["readme.py", "a", str(file)]) == 0
    assert capsys.readouterr().out == "one && two\n"
    assert readme.main(["readme.py", "b", str(file)]) == 2

"""The configuration of ``hb_mapper makertbin``, tuned by hand between export and build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.x3.build_script import EXPORTED, LOGS
from export.x3.config import parse, read_yaml
from export.x3.schema import Sections
from runtime.errors import ReidEdgeError

# What the runtime, build.sh and the simulation rely on. All of input_parameters is.
_FIXED = {
    "model_parameters." + key
    for key in ("onnx_model", "march", "output_model_file_prefix", "working_dir", "output_nodes")
}
_INPUT = "input_parameters."


def config_changes(folder: Path, name: str) -> dict[str, list[Any]]:
    """What was changed: ``{"compiler_parameters.core_num": [1, 2]}``, as exported and as it is.

    A key that is not given counts with its default.

    Args:
        folder: Where ``build.sh`` lies, which says what was exported and has run.
        name: Of the configuration in it.

    Raises:
        ReidEdgeError: hb_mapper would refuse the file, a key was changed that says which network it is
            or what it is fed with, or build.sh ran with another configuration.
    """
    path, kept = folder / name, folder / LOGS / "config.yaml"
    config = read_yaml(path)
    before, now = _flat(_exported(folder / "build.sh")), _flat(config)
    keys = [key for key in [*before, *now] if before.get(key) != now.get(key)]
    changes = {key: [before.get(key), now.get(key)] for key in keys}
    for key, (old, new) in changes.items():
        if key in _FIXED or key.startswith(_INPUT):
            raise ReidEdgeError(
                "Expected %s in %s as exported, %r, got %r; put it back, or export again for another "
                "input or network." % (key, path, old, new)
            )
    if kept.is_file() and _flat(read_yaml(kept)) != now:
        raise ReidEdgeError(
            "Expected the configuration that build.sh ran with (%s), got another %s; run build.sh again."
            % (kept, path)
        )
    return changes


def _exported(script: Path) -> Sections:
    try:
        lines = script.read_text(encoding="utf-8").splitlines()
        (line,) = (line for line in lines if line.startswith(EXPORTED))
        return parse(json.loads(line[len(EXPORTED) :]), str(script))
    except OSError as error:
        raise ReidEdgeError("Cannot read %s: %s." % (script, error.strerror or error)) from None
    except ValueError:
        raise ReidEdgeError(
            "Expected the exported configuration in a line %r of %s, got none; export again."
            % (EXPORTED.strip(), script)
        ) from None


def _flat(config: Sections) -> dict[str, Any]:
    return {
        "%s.%s" % (section, key): value
        for section, values in config.model_dump(mode="json").items()
        for key, value in (values or {}).items()
    }

"""Check which room imports which, and that the device side stays light and runs on Python 3.8.

Reads the imports of every file with ast, also those inside functions and those by a literal name
(``importlib.import_module("torch")``). Prints one ``file:line: reason`` per violation and exits 1.

    python .ci/layering.py [CHECKOUT]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# What host rooms share with the device: what a network expects, and pixels made to fit it.
CONTRACTS = ("runtime.contract", "runtime.errors", "runtime.preprocess")

# Room -> what it may import, as modules; a module stands for everything inside it. DESIGN.md has
# the same table with the reasons.
ARROWS = {
    "runtime": (),
    "follow_robot": ("runtime",),
    "models": CONTRACTS,
    "calibration": ("runtime",),
    "benchmarks": ("runtime", "calibration"),
    "export": ("runtime", "models", "calibration", "benchmarks"),
    "training": (
        *CONTRACTS,
        "models",
        "calibration.layouts",
        "calibration.jitter",
        "benchmarks.metrics",
        "benchmarks.datasets",
        "benchmarks.accuracy",
    ),
}
# Files that may import more than their room: what is fine-tuned for quantization is the graph that
# export quantizes, so these stand to the right of it. Export imports nothing of training.
MORE = {"training/qat": ("export", "calibration")}
NOT_ROOMS = {"tests", "build", "dist"}
DEVICE_ROOMS = ("runtime", "follow_robot")
HOST_ONLY = ("torch", "onnx", "onnxsim")
# Absent on some device: loaded only once the bundle is known to need it.
BACKEND_PACKAGES = ("onnxruntime", "tensorrt", "pycuda", "cuda", "hobot_dnn", "hobot_vio")
BACKENDS = "runtime/backends/"
NEEDS_BACKEND = ("runtime.backends.onnxruntime",)


class Import(NamedTuple):
    """One imported module, where, and whether importing the file imports it at once."""

    module: str
    line: int
    at_once: bool


def within(module: str, packages: tuple[str, ...]) -> bool:
    """Whether ``module`` is one of ``packages`` or lies inside one."""
    return any(module == package or module.startswith(package + ".") for package in packages)


def imports_of(tree: ast.Module, package: str) -> Iterator[Import]:
    """All imports of a file of ``package``; ``from a import b`` counts as ``a.b``, since b may be a module."""
    lazy = {
        child
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join((above if node.level else []) + ([node.module] if node.module else []))
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                names = [node.args[0].value]
        for name in names:
            yield Import(name, node.lineno, node not in lazy)


def check_import(file: str, found: Import) -> str | None:
    """Why ``file`` (path inside the checkout) may not import this, or None."""
    room = file.split("/")[0]
    arrows = (
        *ARROWS[room],
        *(m for start, more in MORE.items() if file.startswith(start) for m in more),
    )
    if found.module.split(".")[0] in ARROWS and not within(found.module, (room, *arrows)):
        allowed = ", ".join(arrows) or "no other room"
        return f"{room} imports {found.module}; it may import {allowed}"
    if room not in DEVICE_ROOMS:
        return None
    if within(found.module, HOST_ONLY):
        return f"the device side imports {found.module}, which is not on a robot"
    if within(found.module, BACKEND_PACKAGES) and found.at_once and not file.startswith(BACKENDS):
        return f"{found.module} is imported at once; only {BACKENDS} may, others inside a function"
    if within(found.module, ("onnxruntime",)) and not file.startswith(BACKENDS):
        return f"onnxruntime is imported outside {BACKENDS}"
    if within(found.module, NEEDS_BACKEND) and found.at_once:
        return f"{found.module} is imported at once; import it in a function, once it is needed"
    return None


def check_file(root: Path, path: Path) -> list[str]:
    """Violations of one file, each ``file:line: reason``."""
    file = path.relative_to(root).as_posix()
    room = file.split("/")[0]
    if room not in ARROWS:
        return [f"{file}:1: {room} is not in the table of rooms; add it to .ci/layering.py"]
    version = (3, 8) if room in DEVICE_ROOMS else None
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), file, feature_version=version)
    except SyntaxError as error:
        language = "Python 3.8" if version else "Python"
        return [f"{file}:{error.lineno}: not valid {language}: {error.msg}"]
    package = ".".join(path.relative_to(root).parent.parts)
    found = sorted(imports_of(tree, package), key=lambda item: item.line)
    reasons = [(item.line, check_import(file, item)) for item in found]
    return [f"{file}:{line}: {reason}" for line, reason in reasons if reason]


def check_tree(root: Path) -> tuple[int, list[str]]:
    """Number of files read, and the violations of all rooms under ``root``."""
    files = sorted(
        path
        for path in root.glob("*/**/*.py")
        if path.relative_to(root).parts[0] not in NOT_ROOMS
        and not path.relative_to(root).parts[0].startswith(".")
    )
    return len(files), [line for path in files for line in check_file(root, path)]


def main(argv: list[str]) -> int:
    root = Path(argv[1] if len(argv) > 1 else Path(__file__).resolve().parent.parent).resolve()
    count, violations = check_tree(root)
    print("\n".join(violations + [f"layering: {count} files, {len(violations)} violations"]))
    if not count:
        print(f"layering: no rooms under {root}", file=sys.stderr)
    return 1 if violations or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

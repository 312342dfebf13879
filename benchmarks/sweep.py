"""A sweep: many bundles on many data sets, described in a YAML file.

    bundles: [bundles/*]                 # folders or patterns, relative to the file
    data:
      - path/to/market1501
      - {path: path/to/cuhk03/labeled, dataset: cuhk03}
    options:                             # as the flags of reid-bench, all optional
      batch: [1, 8]
      threads: [1, 2]
      precision: [fp32, int8]
      repeats: 50
      jobs: 2
    out: results                         # relative to the file

A bundle that fails is reported and the others go on. Each bundle is timed by itself, alone on the
machine; accuracy runs beside it in ``jobs`` processes or on a Ray cluster. Interrupted, the same
command goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

from benchmarks.options import RunOptions
from benchmarks.timing import TimingOptions
from runtime.errors import ReidEdgeError


@dataclass(frozen=True)
class Sweep:
    """A sweep that was read.

    Attributes:
        bundles: Folders.
        data: Folders of evaluation sets.
        datasets: What each is; empty where their names tell.
        options: Checked options, names as in the file.
        out: Folder of the results; None where the file names none.
    """

    bundles: Tuple[Path, ...]
    data: Tuple[Path, ...]
    datasets: Tuple[str, ...]
    options: Dict[str, Any]
    out: Optional[Path]

    def apply(self, base: RunOptions) -> RunOptions:
        """The options of the sweep's run.

        Args:
            base: Whatever the file does not say: cache, command line.
        """
        own = dict(self.options)
        timing = {
            field: own.pop(name)
            for name, field in (
                ("batch", "batches"), ("threads", "threads"), ("repeats", "repeats"),
                ("warmup", "warmup"),
            )
            if name in own
        }  # fmt: skip
        renamed = {"backend": "backends", "precision": "precisions"}
        return replace(
            base,
            bundles=self.bundles,
            data=self.data,
            datasets=self.datasets,
            timing=TimingOptions(**{**base.timing.__dict__, **timing}),
            together=False,
            keep_going=True,
            **{renamed.get(name, name): value for name, value in own.items()},
        )


def read_sweep(path: Union[str, Path]) -> Sweep:
    """Read a sweep's YAML file.

    Raises:
        ReidEdgeError: It cannot be read, or a field is unknown, missing or wrong; a pattern that
            matches no bundle.
    """
    path = Path(path)
    data = _parse(path)
    try:
        from pydantic import ValidationError

        from benchmarks.sweep_file import SweepFile
    except ImportError:
        raise ReidEdgeError(
            "--sweep needs the package pydantic, which is not installed; install it with `pip install "
            "pydantic`, or give the bundles as --bundle."
        ) from None
    try:
        checked = SweepFile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ReidEdgeError("%s: %s: %s." % (path, where, first["msg"])) from None
    names = [entry.dataset for entry in checked.data]
    if any(names) and not all(names):
        raise ReidEdgeError(
            "%s: give a dataset for all entries of data or for none; 'folder' means no known one."
            % path
        )
    options: Dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in checked.options.model_dump(exclude_unset=True).items()
        if value is not None
    }
    if "calib" in options:
        options["calib"] = path.parent / options["calib"]
    return Sweep(
        bundles=tuple(_bundles(path, checked.bundles)),
        data=tuple(path.parent / entry.path for entry in checked.data),
        datasets=tuple(name for name in names if name),
        options=options,
        out=path.parent / checked.out if checked.out else None,
    )


def _parse(path: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise ReidEdgeError(
            "--sweep needs the package PyYAML, which is not installed; install it with `pip install "
            "PyYAML`, or give the bundles as --bundle."
        ) from None
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ReidEdgeError(
            "Cannot read the sweep %s: %s." % (path, getattr(error, "strerror", None) or error)
        ) from None
    except yaml.YAMLError as error:
        raise ReidEdgeError("%s is not YAML: %s." % (path, " ".join(str(error).split()))) from None
    if not isinstance(data, dict):
        raise ReidEdgeError("%s must be a mapping with bundles and data; see --help." % path)
    return data


def _bundles(path: Path, patterns: List[str]) -> List[Path]:
    found: List[Path] = []
    for pattern in patterns:
        folder = Path(pattern)
        if any(sign in pattern for sign in "*?["):
            base = Path(folder.anchor) if folder.is_absolute() else path.parent
            matches = sorted(base.glob(str(folder.relative_to(folder.anchor))))
            matches = [match for match in matches if (match / "manifest.json").is_file()]
            if not matches:
                raise ReidEdgeError("%s: bundles: %s matches no bundle." % (path, pattern))
            found += matches
        else:
            found.append(path.parent / folder)
    return list(dict.fromkeys(found))

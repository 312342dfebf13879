"""CUHK03 as a folder in Market-1501 style, made from its MATLAB files or from loose images."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calibration.layouts import IMAGE_SUFFIXES
from runtime.errors import ReidEdgeError
from training.cuhk03_mat import KINDS, RAW_NAME, Protocol, RawFile, open_raw, read_new_protocol

_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def extract_cuhk03(
    source: str | Path,
    protocol_mat: str | Path | None,
    out: str | Path,
    kind: str,
    *,
    split: int | None = None,
    progress: Callable[[str, int], Any],
) -> Path:
    """Write CUHK03 as a folder that training, calibration and evaluation read.

    The folder ``out/<kind>`` gets ``bounding_box_train``, ``query`` and ``bounding_box_test`` with
    names as in the CUHK03-NP release, and ``protocol.txt``, which says what it is. It appears whole
    or not at all. Pixels of the ``.mat`` are stored without loss; images of a folder are copied.

    Args:
        source: ``cuhk-03.mat``, or a folder of its images under names like ``1_001_1_01.png``.
        protocol_mat: The new protocol's file, or None for the classic protocol.
        out: Parent of the folder.
        kind: ``"labeled"`` or ``"detected"``.
        split: Number of the classic protocol's split, from 0; None for the new protocol.
        progress: ``progress(label, total)`` makes a bar with ``update(n)`` and ``close()``.

    Returns:
        The folder.

    Raises:
        ReidEdgeError: The folder exists, the protocol is not clear, an input cannot be read, or the
            protocol names an image that ``source`` lacks.
    """
    source, out = Path(source), Path(out)
    if kind not in KINDS:
        raise ReidEdgeError(f"CUHK03 has {' and '.join(KINDS)} boxes, got {kind!r}.")
    if (protocol_mat is None) == (split is None):
        raise ReidEdgeError(
            "CUHK03 needs either the new protocol's .mat file or the number of a classic split, "
            f"got {'neither' if split is None else 'both'}."
        )
    target = out / kind
    if target.exists():
        raise ReidEdgeError(f"{target} already exists; remove it or choose another folder.")
    if protocol_mat is not None:
        other = KINDS[1 - KINDS.index(kind)]
        if other in Path(protocol_mat).name:
            raise ReidEdgeError(
                f"{protocol_mat} is the protocol of {other} boxes, but {kind} ones were asked for; "
                "give the matching file."
            )
        protocol = read_new_protocol(protocol_mat)
    if source.is_dir():
        if split is not None:
            raise ReidEdgeError(
                f"The classic splits are stored in cuhk-03.mat, but {source} is a folder; give the "
                ".mat file."
            )
        _write(target, protocol, kind, _file_copier(source), progress)
        return target
    with open_raw(source, kind) as raw:
        if split is not None:
            protocol = raw.classic_protocol(split)
        _write(target, protocol, kind, _png_writer(raw, source), progress)
    return target


def files_by_stem(folder: Path) -> dict[str, Path]:
    """CUHK03's images directly in ``folder``, by their names without suffix."""
    files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES)
    return {path.stem: path for path in files if RAW_NAME.match(path.stem)}


def missing_image(stem: str, source: Path) -> ReidEdgeError:
    """The error for an image that the protocol names and the source lacks."""
    return ReidEdgeError(
        f"The protocol names {stem}.png, which is not in {source}; check that both are of the same "
        f"boxes ({' or '.join(KINDS)}) and that the images are complete."
    )


def _png_writer(raw: RawFile, source: Path) -> Callable[[str, Path], None]:
    def write(stem: str, destination: Path) -> None:
        pixels = raw.image(stem)
        if pixels is None:
            raise missing_image(stem, source)
        content = cv2.imencode(".png", np.ascontiguousarray(pixels[:, :, ::-1]))[1]
        destination.with_name(destination.name + ".png").write_bytes(content.tobytes())

    return write


def _file_copier(folder: Path) -> Callable[[str, Path], None]:
    files = files_by_stem(folder)

    def copy(stem: str, destination: Path) -> None:
        if stem not in files:
            raise missing_image(stem, folder)
        suffix = files[stem].suffix.lower()
        shutil.copyfile(files[stem], destination.with_name(destination.name + suffix))

    return copy


def _write(
    target: Path,
    protocol: Protocol,
    kind: str,
    write: Callable[[str, Path], None],
    progress: Callable[[str, int], Any],
) -> None:
    """Write all images beside ``target`` and rename, so that an interrupt leaves nothing behind."""
    parts = {folder: getattr(protocol, part) for part, folder in _FOLDERS.items()}
    bar = progress(f"CUHK03 {kind}", sum(map(len, parts.values())))
    hidden = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        for folder, entries in parts.items():
            (hidden / folder).mkdir()
            for entry in entries:
                write(entry.stem, hidden / folder / entry.market_name)
                bar.update(1)
        (hidden / "protocol.txt").write_text(f"{protocol.description}, {kind} boxes\n", "utf-8")
        os.chmod(hidden, 0o755)  # mkdtemp made it private; data sets are shared
        os.replace(hidden, target)
    except OSError as error:
        raise ReidEdgeError(f"Cannot write {target}: {error.strerror or error}.") from error
    finally:
        bar.close()
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)

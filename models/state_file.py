"""Checkpoint files to flat state dicts, without running code from the file unless told to."""

from __future__ import annotations

import errno
import hashlib
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from runtime.errors import ReidEdgeError

HEADER = "reid_edge"  # models/adapters/native.py
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "ema")
PREFIXES = ("module.", "_orig_mod.")  # DataParallel, torch.compile

# Trainers store scores such as "rank1" as NumPy scalars; rebuilding one runs no code of the file.
_scalar = np.float64(0).__reduce__()[0]  # its home moved between NumPy 1 and 2, both names occur
SAFE_GLOBALS: list[Any] = [
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8", "u1", "?")),
]


def read_state_dict(
    path: str | Path, allow_pickle: bool = False
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors of a PyTorch checkpoint.

    Unwraps ``{"state_dict": ...}`` and its relatives and strips ``module.`` and ``_orig_mod.``.

    Args:
        path: File written by ``torch.save``.
        allow_pickle: Unpickle arbitrary objects, which runs code contained in the file.

    Returns:
        The flat state dict, and what else is known: ``wrapper`` (tuple of keys descended into),
        ``prefix`` (tuple of prefixes stripped), ``ignored`` (names of non-tensor entries between
        the tensors), ``header`` (what reid-edge's own files state beside the tensors, unchecked;
        ``None`` in other files).

    Raises:
        ReidEdgeError: Missing, empty, truncated or foreign file; pickled object without
            ``allow_pickle``; no tensors; NaN or infinite weights.
    """
    path = Path(path)
    content = _load(path, allow_pickle)
    header = content.get(HEADER) if isinstance(content, dict) else None
    wrapper = []
    while True:
        if isinstance(content, nn.Module):  # only possible with allow_pickle
            content = content.state_dict()
        if not isinstance(content, dict):
            raise ReidEdgeError(
                f"{path} holds a {type(content).__name__}, not a checkpoint with named "
                "weights; save model.state_dict() instead."
            )
        inner = next((k for k in WRAPPERS if isinstance(content.get(k), (dict, nn.Module))), None)
        if inner is None:
            break
        wrapper.append(inner)
        content = content[inner]

    state: dict[str, Tensor] = {}
    prefixes: set[str] = set()
    for key, value in content.items():
        if not isinstance(value, Tensor):
            continue
        name = str(key)
        while name.startswith(PREFIXES):
            prefix = next(p for p in PREFIXES if name.startswith(p))
            prefixes.add(prefix)
            name = name[len(prefix) :]
        if name in state:
            raise ReidEdgeError(
                f"{path} has the entry {name} twice, with and without a wrapper "
                "prefix; save one state dict only."
            )
        state[name] = value.detach()
    if not state:
        raise ReidEdgeError(
            f"{path} holds no weights, only {', '.join(map(str, content)) or 'nothing'}; "
            "save model.state_dict() in it."
        )
    _refuse_not_finite(path, state)
    ignored = tuple(str(k) for k, v in content.items() if not isinstance(v, Tensor))
    return state, {
        "wrapper": tuple(wrapper),
        "prefix": tuple(sorted(prefixes)),
        "ignored": ignored,
        "header": header,
    }


def file_sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _load(path: Path, allow_pickle: bool) -> Any:
    if path.is_dir():
        raise ReidEdgeError(
            f"{path} is a folder, but a checkpoint file was expected; name the file in it."
        )
    try:
        if path.stat().st_size == 0:
            raise ReidEdgeError(f"{path} is empty; copy or download the checkpoint again.")
        with torch.serialization.safe_globals(SAFE_GLOBALS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if error.errno == errno.EINVAL:  # the archive reader sought before a truncated file's start
            raise _not_a_checkpoint(path) from None
        raise ReidEdgeError(f"Cannot read checkpoint {path}: {error.strerror or error}.") from None
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        if found is None:
            raise _not_a_checkpoint(path) from None
        if not allow_pickle:
            raise ReidEdgeError(
                f"{path} contains a pickled object ({found[1]}), and unpickling it runs code "
                "from the file; pass --allow-pickle only for a file you trust, or save its "
                "state_dict() instead."
            ) from None
        return _unpickle(path)
    except RuntimeError as error:
        if "TorchScript" in str(error):
            raise ReidEdgeError(
                f"{path} is a TorchScript program, not a checkpoint; save the state_dict() "
                "of the network it was made from."
            ) from None
        raise _not_a_checkpoint(path) from None
    except (EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError):
        # What torch.load raises on damaged bytes depends on where the damage is.
        raise _not_a_checkpoint(path) from None


def _unpickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        raise ReidEdgeError(
            f"{path} needs the code of its codebase to be unpickled ({error}); put that "
            "repository on PYTHONPATH, or save the state_dict() there."
        ) from None
    except Exception as error:  # the file runs its own code: anything may be raised
        raise ReidEdgeError(
            f"{path} cannot be unpickled ({type(error).__name__}: {error}); save its "
            "state_dict() with the code and the PyTorch it was made with."
        ) from None


def _not_a_checkpoint(path: Path) -> ReidEdgeError:
    return ReidEdgeError(
        f"{path} is not a PyTorch checkpoint, or is truncated or damaged; copy or "
        "download it again."
    )


def _refuse_not_finite(path: Path, state: dict[str, Tensor]) -> None:
    bad = {
        key: int((~torch.isfinite(value)).sum())
        for key, value in state.items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    }
    if bad:
        key = next(iter(bad))
        raise ReidEdgeError(
            f"{path} has NaN or infinite weights in {len(bad)} of {len(state)} entries, "
            f"first in {key} ({bad[key]} values); use a checkpoint from before the "
            "training diverged."
        )

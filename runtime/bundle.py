"""The bundle: the one directory that crosses from workstation to robot."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Dict, List, Sequence, Union

from runtime.errors import ReidEdgeError, VerificationError
from runtime.manifest import Manifest

MANIFEST_NAME = "manifest.json"
ENGINES_DIR = "engines"  # what reid-build adds on the board; not part of the manifest
# Roles of files that only the workstation reads: they may all stay behind, but not some of them.
WORKSTATION_ROLES = ("x3.calibration",)


def file_sha256(path: Union[str, Path]) -> str:
    """SHA-256 of a file as 64 hexadecimal digits, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


class Bundle:
    """An opened bundle directory.

    Attributes:
        path: The directory.
        manifest: Its checked manifest.
    """

    def __init__(self, path: Path, manifest: Manifest):
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(
        cls, path: Union[str, Path], verify: bool = True, edited: Sequence[str] = ()
    ) -> "Bundle":
        """Open a bundle and check every file against the manifest.

        Args:
            path: The bundle directory.
            verify: Compare each file's size and SHA-256 with the manifest.
            edited: Roles whose files are not compared, because people or the vendor's tools change
                them and the caller writes the manifest anew.

        Raises:
            ReidEdgeError: Not a bundle, or a manifest this version cannot read.
            VerificationError: A file is missing or differs from what was exported.
        """
        path = Path(path)
        try:
            text = (path / MANIFEST_NAME).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ReidEdgeError(
                "%s is not a bundle: expected a directory with a readable %s; make one with reid-export."
                % (path, MANIFEST_NAME)
            ) from None
        bundle = cls(path, Manifest.from_json(text))
        if verify:
            bundle.verify(edited)
        return bundle

    def verify(self, edited: Sequence[str] = ()) -> None:
        """Compare every file with the manifest; raise VerificationError at the first difference.

        Files of WORKSTATION_ROLES may be absent, all of a role together.
        """
        left_behind = [role for role in WORKSTATION_ROLES if not self._any_file(role)]
        for name, entry in sorted(self.manifest.files.items()):
            if entry["role"] in edited or entry["role"] in left_behind:
                continue
            file = self.path / name
            if not file.is_file():
                raise VerificationError(
                    "Bundle %s lacks %s; copy the whole directory again." % (self.path, name)
                )
            try:
                found = (file.stat().st_size, file_sha256(file))
            except OSError as error:
                raise ReidEdgeError(
                    "Cannot read %s: %s." % (file, error.strerror or error)
                ) from None
            if found != (entry["size_bytes"], entry["sha256"]):
                raise VerificationError(
                    "%s in bundle %s is not the file that was exported (SHA-256 differs); "
                    "copy the bundle again or export it anew." % (name, self.path)
                )

    def _any_file(self, role: str) -> bool:
        files = self.manifest.files.items()
        return any((self.path / name).is_file() for name, entry in files if entry["role"] == role)

    def has(self, role: str) -> bool:
        """Whether the bundle holds a file for ``role`` (see runtime.manifest.ROLES)."""
        return any(entry["role"] == role for entry in self.manifest.files.values())

    def find(self, role: str) -> Path:
        """Path of the file for ``role``.

        Raises:
            ReidEdgeError: The bundle has none.
        """
        for name, entry in self.manifest.files.items():
            if entry["role"] == role:
                return self.path / name
        raise ReidEdgeError(
            "Bundle %s has no %s; it holds %s."
            % (self.path, role, ", ".join(self.roles()) or "no files")
        )

    def roles(self):
        """Sorted roles the bundle holds."""
        return sorted({entry["role"] for entry in self.manifest.files.values()})


class BundleWriter:
    """Writes a bundle so that it appears whole or not at all.

    Files are made in a hidden directory beside the destination, which is renamed at the end; on an
    error or an interrupt the hidden directory is removed and an older bundle stays as it was.

        with BundleWriter("out/market_rga") as writer:
            model_path = writer.file("model.fp32.onnx", "model.fp32")
            ...                                    # write to model_path
            writer.finish(Manifest(..., files=writer.entries()))
    """

    directory: Path  # the hidden one; exists inside the with block

    def __init__(self, destination: Union[str, Path], force: bool = False):
        self.destination = Path(destination)
        self.force = force
        self._roles: Dict[str, str] = {}
        self._new_parents: List[Path] = []
        self._finished = False

    def __enter__(self) -> "BundleWriter":
        check_destination(self.destination, self.force)
        self._new_parents = [p for p in self.destination.parents if not p.exists()]
        try:
            self.destination.parent.mkdir(parents=True, exist_ok=True)
            self.directory = Path(
                tempfile.mkdtemp(
                    prefix="." + self.destination.name + ".", dir=str(self.destination.parent)
                )
            )
        except OSError as error:
            self._remove_new_parents()
            raise ReidEdgeError(
                "Cannot write to %s: %s." % (self.destination.parent, error.strerror or error)
            ) from None
        return self

    def __exit__(self, kind, error, trace):
        if not self._finished:
            shutil.rmtree(str(self.directory), ignore_errors=True)
            self._remove_new_parents()
        if isinstance(error, OSError):
            raise ReidEdgeError(
                "Cannot write the bundle %s: %s; nothing was left behind."
                % (self.destination, error.strerror or error)
            ) from error
        return False

    def _remove_new_parents(self) -> None:
        with contextlib.suppress(OSError):  # somebody else may use them by now
            for parent in self._new_parents:
                parent.rmdir()

    def file(self, name: str, role: str) -> Path:
        """Path to write the file for ``role`` to."""
        self._roles[name] = role
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def entries(self):
        """The manifest's ``files`` for what was written so far."""
        return {
            name: {
                "role": role,
                "sha256": file_sha256(self.directory / name),
                "size_bytes": (self.directory / name).stat().st_size,
            }
            for name, role in self._roles.items()
        }

    def finish(self, manifest: Manifest) -> Path:
        """Write the manifest and move the bundle to its destination, replacing only with force."""
        manifest.validate()
        (self.directory / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
        os.chmod(str(self.directory), 0o755)  # mkdtemp made it private; a bundle is copied around
        old = None
        if self.destination.exists():
            check_destination(self.destination, self.force)
            old = Path(
                tempfile.mkdtemp(
                    prefix="." + self.destination.name + ".old.", dir=str(self.destination.parent)
                )
            )
        try:
            if old is not None:
                os.replace(str(self.destination), str(old / "bundle"))
            os.replace(str(self.directory), str(self.destination))
        except BaseException:  # an interrupt between the two moves must not cost the older bundle
            if old is not None:
                if (old / "bundle").exists():
                    os.replace(str(old / "bundle"), str(self.destination))
                old.rmdir()
            raise
        self._finished = True
        if old is not None:
            shutil.rmtree(str(old), ignore_errors=True)
        return self.destination


def check_destination(destination: Path, force: bool, mark: str = MANIFEST_NAME) -> None:
    """Refuse to overwrite anything unless forced, and even then only an export or an empty folder.

    Args:
        mark: The file by which an earlier export is known.
    """
    if not destination.exists():
        return
    if not force:
        raise ReidEdgeError(
            "%s already exists; pass --force to replace it, or another --out." % destination
        )
    is_export = (destination / mark).is_file()
    if not destination.is_dir() or not (is_export or not any(destination.iterdir())):
        raise ReidEdgeError(
            "%s exists and is not a bundle (it has no %s), so --force will not replace it; choose "
            "another --out." % (destination, mark)
        )

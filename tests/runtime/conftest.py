"""Fixtures of the device side."""

import pytest

from runtime import track_cli
from tests.runtime.track_material import FakeEmbedder, write_material


@pytest.fixture(scope="session")
def track_material(tmp_path_factory):
    """The folder of tests.runtime.track_material."""
    return write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def track(track_material, tmp_path, monkeypatch, capsys):
    """Runs ``reid-track`` here on the material, with the colour network in place of the bundle's.

    Gives exit status, stdout and stderr; without ``--out`` (or ``--default-out``, for the command's
    own default) the result goes to ``tmp_path / "out"``.
    """
    monkeypatch.setattr(track_cli, "open_backend", lambda bundle, backend, threads: None)
    monkeypatch.setattr(track_cli, "Embedder", FakeEmbedder)

    def run(*arguments, source="img1", detections="det.txt", bundle=True):
        # Absolute paths and other sources stay what they are.
        source = track_material / source if source == "img1" else source
        arguments = [str(a) for a in (source, *arguments)]
        if detections is not None:
            arguments += ["--detections", str(track_material / detections)]
        if bundle:
            arguments += ["--bundle", str(track_material / "bundle")]
        if not {"--out", "--default-out"} & set(arguments):
            arguments += ["--out", str(tmp_path / "out")]
        status = track_cli.main([a for a in arguments if a != "--default-out"])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run

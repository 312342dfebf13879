"""manifest.json: round trips, and the sentence for each way it can be wrong."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError
from runtime.manifest import PRECISIONS, ROLES, SCHEMA_VERSION, TARGETS, Manifest, check_batch

SHA = "0123456789abcdef" * 4


def make_manifest(**changes):
    values = {
        "name": "demo",
        "target": "xavier",
        "precision": "int8",
        "network": {"family": "resnet", "arch": "tiny", "trained": False},
        "input": InputContract(256, 128),
        "embedding": EmbeddingContract(512),
        "batch": {"min": 1, "opt": 4, "max": 16},
        "files": {"model.fp32.onnx": {"role": "model.fp32", "sha256": SHA, "size_bytes": 10}},
        "created_utc": "2026-01-02T03:04:05+00:00",
    }
    return Manifest(**{**values, **changes})


def edited(change):
    """A valid manifest's JSON after ``change`` was applied to its object."""
    data = json.loads(make_manifest().to_json())
    change(data)
    return json.dumps(data)


def refused(text):
    with pytest.raises(ReidEdgeError) as caught:
        Manifest.from_json(text)
    message = str(caught.value)
    assert message.endswith((".", "bundle.")) and "\n" not in message
    return message


names = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(names, json_values, max_size=4)
safe_names = st.from_regex(r"\A[a-z0-9_-]{1,8}(/[a-z0-9_-]{1,8}){0,2}(\.[a-z]{1,5})?\Z")


@st.composite
def manifests(draw):
    roles = draw(st.lists(st.sampled_from(ROLES), unique=True, max_size=len(ROLES)))
    paths = draw(st.lists(safe_names, unique=True, min_size=len(roles), max_size=len(roles)))
    sizes = sorted(draw(st.tuples(*[st.integers(1, 64)] * 3)))
    return make_manifest(
        name=draw(names),
        target=draw(st.sampled_from(TARGETS)),
        precision=draw(st.sampled_from(PRECISIONS)),
        network={**draw(records), "family": "osnet", "arch": "x", "trained": draw(st.booleans())},
        input=InputContract(draw(st.integers(8, 4096)), draw(st.integers(8, 4096))),
        embedding=EmbeddingContract(draw(st.integers(1, 8192))),
        batch=dict(zip(("min", "opt", "max"), sizes)),
        files={
            path: {"role": role, "sha256": SHA, "size_bytes": draw(st.integers(0, 2**40))}
            for path, role in zip(paths, roles)
        },
        calibration=draw(st.none() | records),
        parity=draw(records),
        accuracy=draw(st.none() | records),
        kept_float=draw(st.lists(names, max_size=3)),
        tools=draw(st.dictionaries(names, names, max_size=3)),
    )


@settings(max_examples=50, deadline=None)
@given(manifests())
def test_manifest_survives_json(manifest):
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_json_is_for_people_and_for_diffs():
    text = make_manifest().to_json()
    assert text == make_manifest().to_json()
    assert json.loads(text)["schema_version"] == SCHEMA_VERSION
    assert text.endswith("}\n") and '\n  "target": "xavier"' in text


def test_newer_schema_is_refused_before_anything_else_is_read():
    text = json.dumps({"schema_version": SCHEMA_VERSION + 1, "something": "new"})
    message = refused(text)
    assert (
        "schema version %d but this reid-edge reads up to %d"
        % (
            SCHEMA_VERSION + 1,
            SCHEMA_VERSION,
        )
        in message
    )
    assert "update reid-edge" in message


@pytest.mark.parametrize("version", [None, 0, -1, "1", 1.0, True])
def test_without_a_schema_version_it_is_no_manifest(version):
    message = refused(edited(lambda data: data.update(schema_version=version)))
    assert "not a reid-edge bundle" in message


@pytest.mark.parametrize("text", ["", "{", "[1]", '"bundle"', "null", "\x00"])
def test_what_is_no_json_object_is_refused(text):
    assert "manifest.json" in refused(text)


def test_unknown_and_missing_keys_are_named():
    message = refused(edited(lambda data: data.update(colour=data.pop("target"))))
    assert "unknown keys ['colour']" in message and "lacks keys ['target']" in message


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/passwd", "a\\..\\x", "a//b", "", "a/", "..", "a/.."],
)
def test_names_that_lead_out_of_the_bundle_are_refused(name):
    entry = {"role": "golden", "sha256": SHA, "size_bytes": 1}
    message = refused(edited(lambda data: data.update(files={name: entry})))
    assert "outside the bundle" in message and repr(name) in message


def test_two_files_for_one_role_are_refused():
    entry = {"role": "golden", "sha256": SHA, "size_bytes": 1}
    message = refused(edited(lambda data: data.update(files={"a": entry, "b": entry})))
    assert "two files for golden" in message


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"role": "weights", "sha256": SHA, "size_bytes": 1}, "unknown role 'weights'"),
        ({"role": "golden", "sha256": SHA[:-1], "size_bytes": 1}, "64 hexadecimal digits"),
        ({"role": "golden", "sha256": SHA.upper(), "size_bytes": 1}, "64 hexadecimal digits"),
        ({"role": "golden", "sha256": SHA + "\n", "size_bytes": 1}, "64 hexadecimal digits"),
        ({"role": "golden", "sha256": 7, "size_bytes": 1}, "64 hexadecimal digits"),
        ({"role": "golden", "sha256": SHA, "size_bytes": -1}, "not a whole number"),
        ({"role": "golden", "sha256": SHA, "size_bytes": 1.5}, "not a whole number"),
        ({"role": "golden", "sha256": SHA, "size_bytes": True}, "not a whole number"),
        ({"role": "golden", "sha256": SHA}, "must have role, sha256 and size_bytes"),
        (SHA, "must have role, sha256 and size_bytes"),
    ],
)
def test_broken_file_entries_are_refused(entry, message):
    assert message in refused(edited(lambda data: data.update(files={"golden.npz": entry})))


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("target", "orin", "one of xavier, cpu, x3, got 'orin'"),
        ("target", ["xavier"], "got ['xavier']"),
        ("precision", "int4", "one of fp32, fp16, int8, got 'int4'"),
        ("network", {"family": "osnet"}, "family, arch and trained"),
        ("network", "osnet", "family, arch and trained"),
        ("input", None, "input contract must be a JSON object"),
        ("embedding", {}, "lacks keys ['dim', 'feature', 'l2_normalize']"),
        ("batch", [1, 4, 16], "min, opt and max"),
        ("files", [], "must be an object, got list"),
    ],
)
def test_values_out_of_range_are_refused(key, value, message):
    assert message in refused(edited(lambda data: data.update({key: value})))


@pytest.mark.parametrize("sizes", [(0, 1, 1), (2, 1, 4), (1, 8, 4), (1, 2.0, 4), (True, 1, 1)])
def test_batch_sizes_must_be_ordered_whole_numbers(sizes):
    with pytest.raises(ReidEdgeError, match="1 <= min <= opt <= max"):
        check_batch(dict(zip(("min", "opt", "max"), sizes)))

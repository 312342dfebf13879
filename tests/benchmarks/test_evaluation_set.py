"""Which data set a folder is, whether a network knows it, and the digest of what is in it."""

import pytest

from benchmarks.evaluation_set import (
    CLASSIC_DRAWS,
    DATASETS,
    domain_of,
    open_evaluation_set,
    trained_on,
)
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError
from tests.benchmarks.tiny_run import write_bundle, write_market


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Market-1501-v15.09.15", "market1501"),
        ("market1501", "market1501"),
        ("osnet_x0_25_market1501.pth", "market1501"),
        ("12,936 crops of 751 people of Market-1501 (Zheng et al.)", "market1501"),
        ("DukeMTMC-reID", "dukemtmc"),
        ("cuhk03-np", "cuhk03"),
        ("CUHK03 classic protocol, split 3", "cuhk03"),
        ("MSMT17_V1", "msmt17"),
        ("my_people", None),
        ("market1501 and msmt17", None),  # both, so neither
        ("", None),
    ],
)
def test_domains_by_name(text, domain):
    assert domain_of(text) == domain


def test_a_renamed_folder_is_known_by_what_the_user_says(tmp_path):
    root = write_market(tmp_path / "evaluation", people=2, crops=4)
    assert open_evaluation_set(root, progress=False).name == "evaluation"
    said = open_evaluation_set(root, "dukemtmc", progress=False)
    assert (said.name, said.protocol, said.single_shot) == ("dukemtmc", None, False)
    assert said.cross_domain("Market-1501") is True
    assert said.cross_domain("DukeMTMC-reID") is False
    assert said.cross_domain(None) is None


def test_people_of_ones_own_in_a_folder_named_like_a_data_set(tmp_path):
    root = write_market(tmp_path / "like_market1501", people=2, crops=4)
    assert open_evaluation_set(root, progress=False).name == "market1501"
    own = open_evaluation_set(root, "folder", progress=False)
    assert own.name == "like_market1501"
    assert own.cross_domain("market1501") is None


def test_a_folder_named_like_a_data_set(tmp_path):
    root = write_market(tmp_path / "Market-1501-v15.09.15", people=2, crops=4)
    found = open_evaluation_set(root, progress=False)
    record = found.record(4, [])
    assert (record.name, record.folder) == ("market1501", "Market-1501-v15.09.15")
    assert (record.queries, record.evaluated_queries, record.gallery) == (4, 4, 12)


def test_both_protocols_of_cuhk03(tmp_path):
    new = write_market(tmp_path / "cuhk03-np" / "labeled", people=2, crops=4)
    found = open_evaluation_set(new, progress=False)
    assert (found.name, found.protocol) == ("cuhk03", "CUHK03 new protocol")
    assert not found.single_shot
    classic = write_market(tmp_path / "split3" / "labeled", people=2, crops=4)
    (classic / "protocol.txt").write_text("CUHK03 classic protocol, split 3, labeled boxes\n")
    found = open_evaluation_set(classic, progress=False)
    assert found.name == "cuhk03-classic" and found.single_shot
    assert found.protocol.startswith("CUHK03 classic protocol, split 3, labeled boxes; ")
    assert str(CLASSIC_DRAWS) in found.protocol
    assert found.cross_domain("cuhk03") is False, "both protocols are of one data set"


def test_layouts_that_contradict_the_name_are_refused(tmp_path):
    market = write_market(tmp_path / "x", people=2, crops=4)
    with pytest.raises(ReidEdgeError, match="layout market, but --dataset msmt17 comes as msmt17"):
        open_evaluation_set(market, "msmt17", progress=False)
    with pytest.raises(ReidEdgeError, match=r"one of market1501, .*folder, got 'mars'"):
        open_evaluation_set(market, "mars", progress=False)


def test_people_in_folders(tmp_path):
    source = write_market(tmp_path / "source", people=2, crops=4)
    for path in source.glob("*/*.png"):
        folder = tmp_path / "robot" / path.name[:4]
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    found = open_evaluation_set(tmp_path / "robot", "folder", progress=False)
    assert (found.name, found.found.layout) == ("robot", "identity_folders")
    assert found.cross_domain("market1501") is None, "nobody knows who these people are"
    assert len(found.crops) == 16, "a query that is in the gallery counts once"
    assert found.relative(found.crops[0].path).count("/") == 1


def test_the_digest_follows_contents_labels_and_roles(tmp_path):
    def digest():
        return open_evaluation_set(tmp_path, progress=False).sha256

    write_market(tmp_path, people=2, crops=4)
    first = digest()
    assert digest() == first
    path = tmp_path / "query" / "0001_c1s1_000003_00.png"
    contents = path.read_bytes()
    path.write_bytes(contents + b"x")
    assert digest() != first, "contents"
    path.write_bytes(contents)
    assert digest() == first
    path.rename(path.with_name("0002_c1s1_000003_00_1.png"))
    assert digest() != first, "another person"
    path.with_name("0002_c1s1_000003_00_1.png").rename(path)
    other = tmp_path / "bounding_box_test" / "0001_c1s1_000000_00.png"
    other.rename(tmp_path / "query" / other.name)
    assert digest() != first, "a query more"


@pytest.mark.parametrize(
    ("bundle", "expected"),
    [
        ({}, "market1501"),
        ({"source": "best.pth"}, None),
        ({"source": "best.pth", "notes": ["trained on 9 people of MSMT17"]}, "msmt17"),
        ({"source": "best.pth", "notes": ["training data: DukeMTMC-reID (market): 9"]}, "dukemtmc"),
        # Where it was tested is not where it was trained.
        ({"source": "best.pth", "notes": ["measured on market1501, 1120 queries"]}, None),
        ({"trained": False}, None),
    ],
)
def test_what_a_network_was_trained_on(tmp_path, bundle, expected):
    manifest = Bundle.open(write_bundle(tmp_path / "b", **bundle)).manifest
    assert trained_on(manifest) == expected


def test_every_data_set_has_a_layout():
    layouts = {"market", "msmt17", "split_folders", "identity_folders"}
    assert all(set(known) <= layouts and known for known in DATASETS.values())

"""Layouts of evaluation sets, built file by file, and the refusals a user can meet."""

import pytest

from benchmarks.datasets import open_retrieval_set
from runtime.errors import ReidEdgeError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def labels(crops):
    return [(crop.path.name, crop.person_id, crop.camera_id) for crop in crops]


MARKET = (
    "query/0002_c1s1_000451_03.jpg",
    "query/0007_c3s2_000451_01.jpg",
    "bounding_box_test/0002_c2s1_000776_01.jpg",
    "bounding_box_test/0007_c1s1_000776_01.jpg",
    "bounding_box_test/0000_c1s1_000151_01.jpg",
    "bounding_box_test/-1_c1s1_000026_06.jpg",
    "bounding_box_test/Thumbs.db",
    "bounding_box_train/0001_c1s1_001051_00.jpg",
)


def test_market_keeps_distractors_and_leaves_out_junk_and_training_crops(tmp_path):
    found = open_retrieval_set(touch(tmp_path / "Market", *MARKET))
    assert labels(found.query) == [
        ("0002_c1s1_000451_03.jpg", 2, 1),
        ("0007_c3s2_000451_01.jpg", 7, 3),
    ]
    assert [crop.person_id for crop in found.gallery] == [0, 2, 7]
    assert found.record() == {
        "name": "Market",
        "layout": "market",
        "cameras": "from names",
        "seed": None,
        "queries": 2,
        "gallery": 3,
        "identities": 2,
        "distractors": 1,
        "junk": 1,
    }


def test_duke_and_cuhk03_np_names(tmp_path):
    duke = open_retrieval_set(
        touch(
            tmp_path / "duke",
            "query/0005_c2_f0046985.jpg",
            "query/0033_c1_f0057706.jpg",
            "bounding_box_test/0005_c5_f0051341.jpg",
            "bounding_box_test/0033_c8_f0046182.jpg",
        )
    )
    assert labels(duke.gallery)[0] == ("0005_c5_f0051341.jpg", 5, 5)
    touch(
        tmp_path / "cuhk03-np" / "detected",
        "query/0003_c1_21.png",
        "query/0004_c2_3.png",
        "bounding_box_test/0003_c2_22.png",
        "bounding_box_test/0004_c1_7.png",
    )
    cuhk = open_retrieval_set(tmp_path / "cuhk03-np" / "detected")
    assert [(crop.person_id, crop.camera_id) for crop in cuhk.query] == [(3, 1), (4, 2)]
    with pytest.raises(ReidEdgeError, match="holds detected"):
        open_retrieval_set(tmp_path / "cuhk03-np")


@pytest.mark.parametrize("folder", ["test", "mask_test_v2"])
def test_msmt17_lists(tmp_path, folder):
    query = ["0000/0000_000_01_0303morning_0015_0.jpg", "0001/0001_002_14_0303noon_0020_1.jpg"]
    gallery = ["0000/0000_001_02_0303noon_0015_0.jpg", "0001/0001_000_03_0303noon_0020_1.jpg"]
    touch(tmp_path / folder, *query, *gallery)
    (tmp_path / "list_query.txt").write_text("".join(f"{n} {n[3]}\n" for n in query))
    (tmp_path / "list_gallery.txt").write_text("".join(f"{n} {n[3]}\n" for n in gallery))
    found = open_retrieval_set(tmp_path)
    assert found.layout == "msmt17"
    assert [(c.person_id, c.camera_id) for c in found.query] == [(0, 1), (1, 14)]
    assert [(c.person_id, c.camera_id) for c in found.gallery] == [(0, 2), (1, 3)]
    assert all(crop.path.is_file() for crop in found.query + found.gallery)


def test_msmt17_list_with_a_broken_line_or_without_images_is_refused(tmp_path):
    (tmp_path / "list_query.txt").write_text("0000/0000_000_01_0303morning_0015_0.jpg 0\noops\n")
    (tmp_path / "list_gallery.txt").write_text("")
    with pytest.raises(ReidEdgeError, match="no test/"):
        open_retrieval_set(tmp_path)
    (tmp_path / "test").mkdir()
    with pytest.raises(ReidEdgeError, match="line 2 is 'oops'"):
        open_retrieval_set(tmp_path)


def test_split_folders_share_identities_between_query_and_gallery(tmp_path):
    touch(
        tmp_path,
        "query/anna/a.jpg", "query/ben/b.jpg",
        "gallery/ben/x.jpg", "gallery/anna/y.jpg", "gallery/zoe/z.jpg", "gallery/-1/junk.jpg",
    )  # fmt: skip
    found = open_retrieval_set(tmp_path)
    (anna, ben), gallery = found.query, {c.path.name: c.person_id for c in found.gallery}
    assert gallery["y.jpg"] == anna.person_id != ben.person_id == gallery["x.jpg"]
    assert found.cameras == "unknown"
    cameras = [crop.camera_id for crop in found.query + found.gallery]
    assert len(set(cameras)) == len(cameras)  # no image removes another one
    record = found.record()
    assert (record["distractors"], record["junk"], record["layout"]) == (1, 1, "split_folders")


def test_split_folders_take_cameras_from_the_names(tmp_path):
    touch(
        tmp_path,
        "query/0002/0002_c1s1_1.jpg", "query/0003/0003_c4s1_1.jpg",
        "gallery/0002/0002_c2s1_1.jpg", "gallery/0003/0003_c5s1_1.jpg",
    )  # fmt: skip
    found = open_retrieval_set(tmp_path)
    assert found.cameras == "from names"
    assert [crop.camera_id for crop in found.query + found.gallery] == [1, 4, 2, 5]


def identity_tree(root, camera=True):
    names = [
        f"p{p}/000{p}_c{c}s1_{i}.jpg" if camera else f"p{p}/{c}_{i}.jpg"
        for p in range(3) for c in (1, 2) for i in range(5)
    ]  # fmt: skip
    return touch(root, *names)


def test_identity_folders_draw_one_query_per_identity_and_camera(tmp_path):
    root = identity_tree(tmp_path)
    found = open_retrieval_set(root, seed=5)
    groups = [(crop.person_id, crop.camera_id) for crop in found.query]
    assert groups == [(p, c) for p in range(3) for c in (1, 2)]
    assert len(found.gallery) == 30
    assert open_retrieval_set(root, seed=5) == found
    assert any(open_retrieval_set(root, seed=s).query != found.query for s in range(6, 10))
    assert (found.seed, found.record()["layout"]) == (5, "identity_folders")


def test_identity_folders_without_cameras_draw_one_query_per_identity(tmp_path):
    found = open_retrieval_set(identity_tree(tmp_path, camera=False))
    assert [crop.person_id for crop in found.query] == [0, 1, 2]
    for query in found.query:  # a query is removed from its own gallery and removes nothing else
        removed = [
            crop.path
            for crop in found.gallery
            if (crop.person_id, crop.camera_id) == (query.person_id, query.camera_id)
        ]
        assert removed == [query.path]


def test_folders_of_views_inside_an_identity_hold_its_images(tmp_path):
    """What trains with views must be judged as it is."""
    names = ["anna/rear/1.jpg", "anna/Front/1.jpg", "ben/side/1.jpg", "ben/2.jpg"]
    root = touch(tmp_path / "own", *names, "ben/@eaDir/3.jpg", "@eaDir/4.jpg", ".thumbs/5.jpg")
    found = open_retrieval_set(root)
    assert sorted(crop.path.relative_to(root).as_posix() for crop in found.gallery) == sorted(names)
    assert [crop.person_id for crop in found.query] == [0, 1]
    assert {crop.person_id for crop in found.gallery} == {0, 1}
    split = tmp_path / "split"
    touch(split / "query", "anna/rear/1.jpg", "ben/rear/1.jpg")
    touch(split / "gallery", "anna/front/1.jpg", "ben/1.jpg")
    found = open_retrieval_set(split)
    assert (len(found.query), len(found.gallery)) == (2, 2)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "No query images"),
        (("flat.jpg", "readme.txt"), "No query images"),
        (("query/0002_c1s1_1.jpg",), "has query but not its counterpart"),
        (("list_query.txt",), "has list_query.txt but not its counterpart"),
        (("query/readme.txt", "bounding_box_test/0002_c1s1_1.jpg"), "No query images"),
        (("query/0002_c1s1_1.jpg", "bounding_box_test/-1_c1s1_1.jpg"), "No gallery images"),
        (("query/img.jpg", "bounding_box_test/0002_c1s1_1.jpg"), "name like"),
        (("query/0002_c1s1_1.jpg", "bounding_box_test/0002_c1s1_2.jpg"), "another camera"),
        (
            ("query/0002_c1s1_1.jpg", "query/0003_c1s1_1.jpg", "bounding_box_test/0002_c2s1_2.jpg"),
            "at least 2 identities",
        ),
        (("anna/1.jpg", "anna/2.jpg", "ben/1.jpg"), "at least 2 identities"),
    ],
)
def test_useless_sets_are_refused_in_one_sentence(tmp_path, names, message):
    with pytest.raises(ReidEdgeError, match=message) as caught:
        open_retrieval_set(touch(tmp_path, *names))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"No evaluation folder .*nowhere"):
        open_retrieval_set(tmp_path / "nowhere")


def test_the_real_market_split(shared):
    record = open_retrieval_set(shared / "data" / "market1501").record()
    counts = {key: record[key] for key in ("queries", "gallery", "identities", "distractors")}
    assert counts == {"queries": 1120, "gallery": 5301, "identities": 250, "distractors": 1000}
    assert record["junk"] == 300

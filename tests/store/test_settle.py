"""A store is met only by what made it, and what is no store or not in it is said in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import Plan, tree

from logitcache.errors import DamageError, InputError, LogitcacheError, MismatchError
from logitcache.records import sha256
from logitcache.store import EncodingOptions, open_store
from logitcache.store.backend import LocalBackend
from logitcache.store.documents import pack, unpack
from logitcache.store.settle import check_digests, digest_findings

PLAN = Plan(samples=13, block_rows=8)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fingerprint": "e" * 16}, ["data set's fingerprint", "f" * 16, "e" * 16]),
        ({"weights": "v" * 16}, ["weight fingerprint", "w" * 16, "v" * 16]),
        ({"probe": "p" * 16}, ["rendering of views", "null", "p" * 16]),
        ({"dataset": "letters"}, ["the data set", "numbers", "letters"]),
        ({"policy": (("kind", "crop_flip"), ("padding", 2))}, ["the view policy", "padding=4", "padding=2"]),
        ({"encoding": EncodingOptions(max_kl=1e-4)}, ["the encoding", "step=0.089", "step=0.028"]),
        ({"classes": 5}, ["the list of classes", '"d"]', '"e"]']),
        ({"samples": 12}, ["number of samples", "13", "12"]),
        ({"views": 3}, ["the store has 2", "given was 3"]),
        ({"features": 3}, ["width of stored features", "the store has 0", "given was 3"]),
        ({"block_rows": 4}, ["block_rows", "8", "4"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_store_is_refused_with_both_sides_and_left_alone(tmp_path, unsynced, change, named):
    PLAN.write(tmp_path, leave_out={(1, 1)})
    before = tree(tmp_path)
    with pytest.raises(MismatchError) as error:
        replace(PLAN, **change).writer(tmp_path)
    assert all(part in str(error.value) for part in named), str(error.value)
    assert tree(tmp_path) == before


def test_long_values_that_differ_are_shown_with_their_fingerprints(tmp_path, unsynced):
    policy = (("kind", "crop_flip"), ("padding", 4), ("preprocess", {"mean": [0.5, 0.25, 0.125], "size": 224}))
    plan = replace(PLAN, policy=policy)
    plan.write(tmp_path)
    with pytest.raises(MismatchError, match=r"fingerprint [0-9a-f]{16} \(padding=4\).*fingerprint [0-9a-f]{16}"):
        replace(plan, policy=(*policy, ("padding", 2))).writer(tmp_path)


def test_a_second_teacher_and_split_join_a_store(tmp_path, unsynced):
    PLAN.write(tmp_path)
    before = tree(tmp_path)
    replace(PLAN, teacher="other", seed=1).write(tmp_path)
    replace(PLAN, split="test", samples=9, fingerprint="t" * 16).write(tmp_path)
    store = open_store(tmp_path)
    assert (store.splits, store.teachers("train"), store.teachers("test")) == (
        ("test", "train"),
        ("big", "other"),
        ("big",),
    )
    assert {name: digest for name, digest in tree(tmp_path).items() if name in before} == before


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (None, InputError, "is not a logit store: it has no zarr.json"),
        ('{"zarr_format": 3, "attributes": {}}', InputError, "a Zarr group, but not a logit store"),
        ('{"attributes": {"logitcache": {"format_version": 9}}}', InputError, "format version 9; this .* reads 1"),
        ("{", DamageError, "zarr.json is damaged"),
    ],
)
def test_what_is_no_store_is_said_to_be_none(tmp_path, text, error, said):
    if text is not None:
        (tmp_path / "zarr.json").write_text(text)
    with pytest.raises(error, match=said):
        open_store(tmp_path)


def test_what_a_store_does_not_have_is_listed_with_what_it_has(tmp_path, unsynced):
    PLAN.write(tmp_path)
    store = open_store(tmp_path)
    for ask, said in (
        (lambda: store.labels("test"), "no split 'test'; it has train"),
        (lambda: store.logits("small"), "no teacher 'small' in split 'train'; it has big"),
        (lambda: store.logits("big").features(0, 0), "cached without features"),
    ):
        with pytest.raises(LogitcacheError, match=said):
            ask()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "-x", "ä", "a" * 101])
def test_names_are_plain_folders(name):
    with pytest.raises(InputError, match="letters, digits"):
        replace(PLAN, teacher=name).record  # noqa: B018


@pytest.fixture
def labels(tmp_path, unsynced):
    """A store's folder and the backend on it; its labels are the group whose digests are looked at."""
    PLAN.write(tmp_path)
    return tmp_path, LocalBackend(tmp_path)


def test_all_objects_that_differ_are_found_and_the_first_is_raised(labels):
    path, backend = labels
    assert digest_findings(backend, "train/labels") == []
    (path / "train/index/c/0").unlink()
    (path / "zarr.json").write_bytes(b"{}")
    findings = digest_findings(backend, "train/labels")
    assert [(finding.kind, finding.key, finding.blocks) for finding in findings] == [
        ("metadata", "train/index/c/0", ()),
        ("metadata", "zarr.json", ()),
    ]
    assert [str(finding) for finding in findings] == [
        "train/index/c/0 is missing",
        "zarr.json is damaged: its bytes are not those that were written",
    ]
    with pytest.raises(DamageError, match="train/index/c/0 is missing"):
        check_digests(backend, "train/labels")


@pytest.mark.parametrize(
    "key",
    ["../secret", "/etc/passwd", "train/../../secret", "train//x", "a\0b", "test/labels/c/0", "train", "x" * 5000],
)
def test_digests_name_only_what_is_below_their_own_folder(labels, key):
    path, backend = labels
    (path.parent / "secret").write_bytes(b"secret")
    file = path / "train/labels/digests.json"
    known = unpack(file.read_bytes(), "it")
    file.write_bytes(pack({**known, key: sha256(b"secret")}))
    [finding] = digest_findings(backend, "train/labels")
    assert finding.key == "train/labels/digests.json"
    assert "it names" in finding.problem
    with pytest.raises(DamageError, match="which is not below train"):
        open_store(path)


@pytest.mark.parametrize("record", [[], 3, None, {"zarr.json": 3}, {"zarr.json": None}])
def test_digests_that_are_none_are_damage(labels, record):
    path, backend = labels
    (path / "train/labels/digests.json").write_bytes(pack(record))
    [finding] = digest_findings(backend, "train/labels")
    assert finding.problem.startswith("train/labels/digests.json is damaged")


@pytest.mark.parametrize("text", [b"{", b"[]", b"3", b"\xff"])
def test_damaged_metadata_of_an_unfinished_store_stop_a_writer_by_name(tmp_path, unsynced, text):
    PLAN.write(tmp_path)
    (tmp_path / "train/zarr.json").write_bytes(text)
    (tmp_path / "train/labels/digests.json").unlink()
    with pytest.raises(DamageError, match=r"train/zarr\.json is damaged"):
        PLAN.writer(tmp_path)

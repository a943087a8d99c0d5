"""Addresses: folders, and prefixes of buckets, which name no credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from logitcache.address import as_address, is_remote, local_path, remote_place, same_place, without_secrets
from logitcache.errors import InputError


@pytest.mark.parametrize("text", ["s3://bucket/a/b", "gs://bucket", "az://container/a"])
def test_addresses_of_object_stores_stay_text(text):
    assert is_remote(text)
    assert as_address(text) == as_address(f"{text}/") == text == str(remote_place(text))


@pytest.mark.parametrize("text", ["runs/a/store.zarr", "/srv/x", ".", "s3:/is/a/folder", "C:/x"])
def test_everything_else_is_a_folder(text):
    assert not is_remote(text)
    assert as_address(text) == Path(text) == local_path(text)


def test_the_parts_of_an_address():
    place = remote_place("s3://my-bucket.x/a b/ä/store.zarr/")
    assert (place.scheme, place.bucket, place.prefix) == ("s3", "my-bucket.x", "a b/ä/store.zarr")


SECRET = "sEcReT"  # noqa: S105


@pytest.mark.parametrize(
    "text",
    [
        f"s3://key:{SECRET}@bucket/a",
        f"s3://key:{SECRET}/x@bucket/a",
        f"s3://key:{SECRET}/bucket",
        f"s3://bucket/a?X-Amz-Credential={SECRET}",
        f"az://container/a?sig={SECRET}",
        f"s3://bucket/a#{SECRET}",
        f"https://user:{SECRET}@host/bucket",
        f"{SECRET}://bucket",
    ],
)
def test_what_may_hold_credentials_is_refused_and_not_repeated(text):
    with pytest.raises(InputError) as caught:
        as_address(text)
    assert SECRET not in str(caught.value) or text.startswith(SECRET)
    assert "s3://BUCKET/PREFIX" in str(caught.value)


@pytest.mark.parametrize("text", ["s3://bucket//a", "s3://bucket/a/../b", "s3://bucket/./a", "s3://bucket/a\nb"])
def test_a_prefix_is_plain_names(text):
    with pytest.raises(InputError, match="the prefix has an empty part"):
        remote_place(text)


@pytest.mark.parametrize("text", ["s3://", "s3:///a", "s3://-b/a", "s3://b"])
def test_a_bucket_has_a_name(text):
    with pytest.raises(InputError, match="names no bucket"):
        remote_place(text)


def test_a_path_that_swallowed_a_slash_is_said():
    with pytest.raises(InputError, match=r"Path\('s3://bucket/a'\) is no address.*give it as text"):
        local_path(Path("s3://bucket/a"))


def test_an_address_is_no_folder():
    with pytest.raises(InputError, match=r"s3://bucket/a is not a folder of this machine"):
        local_path("s3://bucket/a")


def test_one_place_has_several_names(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "store")
    assert same_place(tmp_path / "store", tmp_path / "x/../link")
    assert same_place("s3://bucket/a", "s3://bucket/a/")
    assert not same_place("s3://bucket/a", "gs://bucket/a")
    assert not same_place(tmp_path, "s3://bucket/a")


@pytest.mark.parametrize(
    "text",
    [
        f"s3://key:{SECRET}@bucket/a",
        f"s3://key:{SECRET}/x@bucket/a",
        f"s3://key:{SECRET}/bucket",
        f"az://c/a?sig={SECRET}",
        f'{{store = "s3://k:{SECRET}@b"}}',
    ],
)
def test_messages_repeat_no_credentials(text):
    assert SECRET not in without_secrets(text)
    assert "://..." in without_secrets(text)


@pytest.mark.parametrize("text", ["s3://bucket/a", "http://127.0.0.1:8080/x", "no address", '"a" = "gs://b/c"'])
def test_messages_repeat_everything_else(text):
    assert without_secrets(text) == text

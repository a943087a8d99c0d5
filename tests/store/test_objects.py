"""Objects in a bucket behave as files in a folder do: whole, put only where nothing stands, and none outside."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from object_server import BUCKET, SECRETS

from logitcache.errors import DamageError, InputError, RemoteError
from logitcache.store.backend import ObjectBackend, is_store, open_backend, side_by_side
from logitcache.store.objects import Patience

QUICK = Patience(tries=3, first_wait=0.001, longest_wait=0.001, timeout=0.3, connect_timeout=0.3)


@pytest.fixture
def backend(s3):
    return open_backend(f"s3://{BUCKET}/a b/store")


def asked(s3):
    """Methods of the requests so far."""
    return [seen.method for seen in s3.seen]


def test_what_was_put_comes_back(backend, s3):
    assert backend.put("a/b/c", b"one")
    assert backend.put("a/empty", b"")
    assert asked(s3) == ["PUT", "PUT"], "one request an object, and no listing"
    assert (backend.get("a/b/c"), backend.size("a/b/c")) == (b"one", 3)
    assert (backend.get("a/empty"), backend.size("a/empty")) == (b"", 0)
    assert backend.names("a") == {"b", "empty"}
    assert backend.names("") == {"a"}
    assert s3.objects("a b/store") == {"a/b/c": b"one", "a/empty": b""}


def test_what_is_not_there_is_none(backend):
    backend.put("a/b", b"one")
    assert [backend.get(key) for key in ("nothing", "a", "a/b/c")] == [None, None, None]
    assert [backend.size(key) for key in ("nothing", "a", "a/b/c")] == [None, None, None]
    assert [backend.names(key) for key in ("nothing", "a/b", "a/")[:2]] == [set(), set()]
    backend.delete("nothing")


def test_a_second_put_changes_nothing(backend):
    assert backend.put("key", b"first")
    assert not backend.put("key", b"second")
    assert not backend.put("key", b"first")
    assert backend.get("key") == b"first"


def test_of_many_puts_at_once_one_wins(backend):
    barrier = Barrier(8)

    def put(name):
        barrier.wait()
        return backend.put("a/key", name * 1000)

    names = [bytes([65 + n]) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, names))
    assert won.count(True) == 1
    assert backend.get("a/key") == names[won.index(True)] * 1000


def test_objects_are_replaced_and_deleted(backend, s3):
    backend.put("a/key", b"first")
    backend.replace("a/key", b"second")
    backend.replace("a/new", b"third")
    assert s3.objects("a b/store") == {"a/key": b"second", "a/new": b"third"}
    backend.delete("a/key")
    backend.sweep()
    assert s3.objects("a b/store") == {"a/new": b"third"}


def test_objects_beyond_the_limit_are_not_read(backend):
    backend.put("a/b", b"0123456789")
    assert backend.get("a/b", 10) == b"0123456789"
    with pytest.raises(DamageError, match="a/b is damaged: it has 10 bytes, at most 9 are allowed"):
        backend.get("a/b", 9)


OUTSIDE = ["/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/", "/", "./a", "a\0b", "a\\b", "a\nb", "x" * 256]


@pytest.mark.parametrize("key", OUTSIDE)
def test_no_key_leaves_the_store(backend, s3, key):
    uses = [backend.get, backend.size, backend.delete, lambda k: backend.put(k, b""), lambda k: backend.replace(k, b"")]
    for use in [*uses, backend.names]:
        with pytest.raises(DamageError, match="leaves the store"):
            use(key)
    assert asked(s3) == []


PLAIN = ["a", "train/teachers/big/c/0/0", ".a", "a..b", "ä b", "a%20b", "a+b", "a*b~", "x" * 255]


@pytest.mark.parametrize("key", PLAIN)
def test_plain_names_are_keys(backend, s3, key):
    assert backend.put(key, b"one")
    assert (backend.get(key), backend.size(key)) == (b"one", 3)
    assert key.split("/")[0] in backend.names("")
    assert s3.objects("a b/store") == {key: b"one"}


def test_more_names_than_a_listing_has_come_all(backend, s3):
    for number in range(1005):
        s3.change(f"a b/store/many/{number}", b"")
    assert backend.names("many") == {str(number) for number in range(1005)}


def test_a_store_beside_is_not_seen(s3):
    open_backend(f"s3://{BUCKET}/one").put("zarr.json", b"x")
    assert is_store(f"s3://{BUCKET}/one")
    assert not is_store(f"s3://{BUCKET}/on")
    assert not is_store(f"s3://{BUCKET}")
    assert open_backend(f"s3://{BUCKET}").names("") == {"one"}


@pytest.fixture
def quick(s3):
    return ObjectBackend(f"s3://{BUCKET}/store", QUICK)


@pytest.mark.parametrize("way", ["unavailable", "slow", "cut", "lost"])
def test_one_failure_is_not_seen(quick, s3, way):
    """The first request to each object fails, the second does not."""
    s3.change("store/there", b"there")

    known = set()

    def first_only(method, key):
        again = (method, key) in known
        known.add((method, key))
        return None if again else way

    s3._lot = first_only
    try:
        assert quick.get("there") == b"there"
        assert quick.size("there") == 5
        assert quick.put("new", b"new")
        quick.replace("there", b"other")
        assert quick.names("") == {"there", "new"}
        quick.delete("new")
    finally:
        del s3._lot
    assert s3.objects("store") == {"there": b"other"}
    assert len(known) >= 6


def test_a_put_whose_answer_was_lost_is_ours_only_if_its_bytes_are(quick, s3):
    with s3.failing(lost=1.0), pytest.raises(RemoteError, match="cannot be reached in 3 tries"):
        quick.put("a", b"mine")
    assert s3.objects("store") == {"a": b"mine"}

    def lost_then_other(method, key):
        if method == "PUT" and not any(seen.method == "PUT" for seen in s3.seen):
            s3.change("store/b", b"another's")
            return "unavailable"
        return None

    s3.seen.clear()
    s3._lot = lost_then_other
    try:
        assert not quick.put("b", b"mine")
    finally:
        del s3._lot
    assert s3.objects("store")["b"] == b"another's"


def test_a_conflict_of_two_writers_where_nothing_stands_is_asked_again(quick, s3):
    s3.answer, s3.answered = ("409 Conflict", "ConditionalRequestConflict"), "PUT"
    with pytest.raises(RemoteError, match="cannot be reached in 3 tries"):
        quick.put("a", b"mine")


@pytest.mark.parametrize(
    ("status", "code", "match"),
    [
        (
            "403 Forbidden",
            "SignatureDoesNotMatch",
            r"refused \(403 SignatureDoesNotMatch\).*AWS_ACCESS_KEY_ID",
        ),
        ("404 Not Found", "NoSuchBucket", "there is no bucket 'bucket'; make it, or correct the address"),
        ("301 Moved Permanently", "PermanentRedirect", "in another region; set AWS_REGION"),
        ("400 Bad Request", "InvalidArgument", r"the request failed \(400 InvalidArgument\)"),
        ("501 Not Implemented", "NotImplemented", r"the request failed \(501 NotImplemented\)"),
    ],
)
def test_what_asking_again_cannot_mend_is_said_at_once_without_what_was_answered(quick, s3, status, code, match):
    s3.answer = (status, code)
    with pytest.raises(RemoteError, match=rf"^s3://bucket/store: .*{match}") as caught:
        quick.get("key")
    assert len(s3.seen) <= 1
    assert caught.value.__cause__ is None
    assert not any(secret in str(caught.value) for secret in SECRETS.values())


def test_what_lasts_is_said_in_the_end(quick, s3):
    s3.answer = ("503 Service Unavailable", "SlowDown")
    with pytest.raises(RemoteError, match=r"failed \(503 SlowDown\) in 3 tries; the same command goes on"):
        quick.get("key")


def test_a_bucket_that_is_missing_is_said_by_a_put(s3):
    with pytest.raises(RemoteError, match="there is no bucket 'nobody-has-it'"):
        open_backend("s3://nobody-has-it/store").put("key", b"")


def test_nobody_at_the_endpoint(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match="cannot be reached in 3 tries; the last time it refused the connection"):
        ObjectBackend("s3://bucket/store", QUICK).get("key")


def test_plain_http_has_to_be_allowed(s3, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(RemoteError, match="not encrypted; if that is meant, set AWS_ALLOW_HTTP=true"):
        ObjectBackend("s3://bucket/store", QUICK).get("key")


@pytest.fixture
def profile(s3, monkeypatch, tmp_path):
    """Credentials in a file, of which the environment names a profile."""
    lines = "\n".join(f"{name.lower()} = {value}" for name, value in SECRETS.items())
    (tmp_path / "credentials").write_text(f"[me]\n{lines}\n")
    for name in SECRETS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "me")


def test_a_profile_has_credentials(profile, backend):
    assert backend.put("key", b"one")


def test_a_profile_that_is_not_there_is_said(profile, backend, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(InputError, match="AWS_PROFILE = 'nobody' names no profile with credentials"):
        backend.get("key")


def test_profiles_need_boto3(profile, backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "obstore.auth.boto3", raising=False)
    with pytest.raises(InputError, match="boto3 reads profiles: pip install boto3"):
        backend.get("key")


def test_without_credentials_the_variables_are_named(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(RemoteError, match="no credentials were found; set AZURE_STORAGE_ACCOUNT_NAME and"):
        open_backend("az://container/store").get("key")


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(InputError, match=r"pip install 'logitcache\[s3\]'"):
        open_backend("s3://bucket/store")


def test_a_backend_travels_without_credentials_and_works_there(backend):
    backend.put("key", b"one")
    data = pickle.dumps(backend)
    assert not any(secret.encode() in data for secret in SECRETS.values())
    assert pickle.loads(data).get("key") == b"one"  # noqa: S301


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_fork_of_a_process_that_used_a_client_is_told(backend):
    backend.put("key", b"one")
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(20)  # a client would hang here
        try:
            backend.get("key")
        except InputError as error:
            os.write(writes, str(error).encode())
        os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    with os.fdopen(reads) as file:
        assert 'start processes by "forkserver" or "spawn"' in file.read()


def test_requests_wait_together(backend):
    """Each waits until all are under way."""
    barrier = Barrier(8, timeout=10)
    assert sorted(side_by_side(backend, lambda n: (barrier.wait(), n)[1], range(8))) == list(range(8))

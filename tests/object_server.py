"""An S3 server on this machine: moto's, behind a layer that counts requests and makes some of them fail.

Which ones fail is drawn from a key: the seed, the object, and how often it was asked for. So the order in which threads
come does not matter, and a request that is repeated gets another lot.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

ACCOUNT = "123456789012"
BUCKET = "bucket"
SECRETS = {"AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST0001", "AWS_SECRET_ACCESS_KEY": "sEcReT/oFtHeTeStS+0000000000"}
"""What must never be seen in any output."""

WAYS = ("unavailable", "slow", "cut", "lost")
"""503; an answer that comes too late; a connection that ends early; a change that is made, and its answer lost."""

LATE = 0.4
"""Seconds that a slow answer takes; what was asked is done at once."""


@dataclass(frozen=True)
class Seen:
    """One request: what was asked of which object, how many bytes of an object were sent, and how it was failed."""

    method: str
    key: str
    sent: int
    listing: bool
    failed: str | None


@dataclass
class ObjectServer:
    """The server; tests set ``rates`` and look at ``seen``."""

    rates: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    seen: list[Seen] = field(default_factory=list)
    answer: tuple[str, str] | None = None
    """Status line and code of an error that is the answer, as "403 Forbidden", "AccessDenied"."""
    answered: str = ""
    """The method that it is the answer to; everything where this is empty."""

    def __post_init__(self) -> None:
        self._app: Any = create_backend_app("s3")
        self._counts: Counter[str] = Counter()
        self._lock, self._writing = Lock(), Lock()
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reset(self) -> None:
        """An empty bucket, no faults, nothing seen."""
        self.rates, self.answer, self.answered, self.seed = {}, None, "", 0
        s3_backends[ACCOUNT]["aws"].reset()
        s3_backends[ACCOUNT]["aws"].create_bucket(BUCKET, "us-east-1")
        self._counts.clear()
        self.seen.clear()

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to speak to it."""
        return {
            **SECRETS,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def objects(self, prefix: str) -> dict[str, bytes]:
        """The objects below a prefix, from the server's own memory."""
        keys = s3_backends[ACCOUNT]["aws"].buckets[BUCKET].keys
        return {name.removeprefix(f"{prefix}/"): keys[name].value for name in keys if name.startswith(f"{prefix}/")}

    def tree(self, prefix: str) -> dict[str, str]:
        """SHA-256 of each of them, as :func:`builders.tree` has it of files."""
        return {name: sha256(data).hexdigest() for name, data in sorted(self.objects(prefix).items())}

    def count(self, prefix: str) -> int:
        """How many objects there are below a prefix, also while others come and go."""
        keys = list(s3_backends[ACCOUNT]["aws"].buckets[BUCKET].keys)  # at once, unlike a loop
        return sum(name.startswith(f"{prefix}/") for name in keys)

    def take(self, folder: Path, prefix: str) -> None:
        """Move a folder's files into the bucket, without a request that is seen."""
        for file in (each for each in folder.rglob("*") if each.is_file()):
            self.change(f"{prefix}/{file.relative_to(folder)}", file.read_bytes())
        shutil.rmtree(folder)

    def change(self, key: str, data: bytes | None) -> None:
        """Behind everybody's back, give an object other bytes, or take it away."""
        backend = s3_backends[ACCOUNT]["aws"]
        if data is None:
            backend.delete_object(BUCKET, key)
        else:
            backend.put_object(BUCKET, key, data)

    @contextmanager
    def failing(self, seed: int = 0, **rates: float) -> Iterator[None]:
        """Parts of all requests fail in these ways inside."""
        self.rates, self.seed = rates, seed
        try:
            yield
        finally:
            self.rates = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        method, key = environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(f"/{BUCKET}").lstrip("/")
        way = self._lot(method, key)
        if self.answer is not None and self.answered in {"", method}:
            return self._error(start_response, *self.answer)
        if way == "unavailable":
            self._note(environ, key, 0, way)
            return self._error(start_response, "503 Service Unavailable", "SlowDown")
        if way == "cut" and method != "GET":
            self._note(environ, key, 0, way)
            return _cut(environ)
        return self._do(environ, start_response, key, way)

    def _do(self, environ: dict[str, Any], start_response: Any, key: str, way: str | None) -> Iterable[bytes]:
        """Do what is asked; the answer may be late, or lost, or cut in half."""
        said: list[Any] = []
        reads = environ["REQUEST_METHOD"] in {"GET", "HEAD"}
        with nullcontext() if reads else self._writing:  # moto looks, and then puts
            body = b"".join(self._app(environ, lambda *words, **_: said.append(words)))
        sent = len(body) if environ["REQUEST_METHOD"] == "GET" and not _lists(environ) else 0
        self._note(environ, key, {None: sent, "cut": sent // 2}.get(way, 0), way)
        if way == "slow":
            time.sleep(LATE)
        if way in {"slow", "lost"}:
            return _cut(environ)
        start_response(*said[0][:2])
        return _half(environ, body) if way == "cut" else [body]

    def _lot(self, method: str, key: str) -> str | None:
        """Whether and how a request fails."""
        with self._lock:
            asked = f"{method} {key}"
            self._counts[asked] += 1
            words = f"{self.seed} {asked} {self._counts[asked]}"
        left = int.from_bytes(sha256(words.encode()).digest()[:8]) / 2**64
        for way, rate in self.rates.items():
            left -= rate
            if left < 0:
                return way
        return None

    def _note(self, environ: dict[str, Any], key: str, sent: int, failed: str | None) -> None:
        """Remember a request."""
        with self._lock:
            self.seen.append(Seen(environ["REQUEST_METHOD"], key, sent, _lists(environ), failed))

    def _error(self, start_response: Any, status: str, code: str) -> list[bytes]:
        """An error as S3 says it; like S3 it repeats the key that it was asked with."""
        known = escape(SECRETS["AWS_ACCESS_KEY_ID"])
        body = f"<Error><Code>{code}</Code><AWSAccessKeyId>{known}</AWSAccessKeyId></Error>".encode()
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


class _Handler(MotoRequestHandler):
    """Says nothing."""

    def log(self, *words: Any, **_: Any) -> None:
        """Tests print nothing of a server."""

    def log_error(self, *words: Any) -> None:
        """Nor its errors."""


def _lists(environ: dict[str, Any]) -> bool:
    """Whether a request lists objects."""
    return environ["REQUEST_METHOD"] == "GET" and "list-type" in environ["QUERY_STRING"]


def _cut(environ: dict[str, Any]) -> Iterable[bytes]:
    """End the connection without an answer."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError


def _half(environ: dict[str, Any], body: bytes) -> Iterator[bytes]:
    """Half a body, and then nothing more."""
    yield body[: len(body) // 2]
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError

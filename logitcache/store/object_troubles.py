"""What went wrong with an object store, in words: never what it sent, for answers may repeat keys and signatures."""

from __future__ import annotations

import re
from dataclasses import dataclass

from logitcache.address import RemotePlace
from logitcache.errors import RemoteError

__all__ = ["Trouble", "diagnose", "told"]

_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN where there is one; AWS_ENDPOINT_URL for "
    "servers that are not AWS)",
    "gs": "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS, each the path of a key file",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or the variables of a service principal",
}
_PLAIN_HTTP = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}
_RETRIED = {408, 425, 429}
_NEVER = {501, 505}

# what obstore writes of an error's source, beside which stand names of objects, which may say anything
_SIGNS = (
    (r"<Code>(?:NoSuchBucket|ContainerNotFound)</Code>", "bucket"),
    (r"://(?:169\.254\.\d|metadata\.google)|source: MissingAccount", "no credentials"),
    (r"source: BadScheme", "plain http"),
    (r"inner: BareRedirect", "region"),
)
_SHORT = (
    (r"kind: (?:Timeout|TimedOut)", "it did not answer in time"),
    (r"kind: ConnectionRefused", "it refused the connection"),
    (r'"dns error"', "its name is not known"),
    (r"InvalidCertificate|UnknownIssuer", "its certificate is not trusted"),
)


@dataclass(frozen=True)
class Trouble:
    """A failed request.

    Attributes:
        kind: ``bucket``, ``no credentials``, ``plain http``, ``region``, ``refused``, ``status`` or ``connection``.
        what: a few words of our own on what the server said, or did not.
        final: whether asking once more is of no use.
    """

    kind: str
    what: str
    final: bool


def diagnose(error: Exception) -> Trouble:
    """What an error of obstore means; its text is read here, and nowhere shown."""
    text = str(error)
    for sign, kind in _SIGNS:
        if re.search(sign, text):
            return Trouble(kind, kind, final=kind != "no credentials")
    status = re.search(r"status code:? (\d{3})", text)
    code = re.search(r"<Code>(\w{1,60})</Code>", text)
    said = " ".join(found[1] for found in (status, code) if found)
    if type(error).__name__ in {"PermissionDeniedError", "UnauthenticatedError"}:
        return Trouble("refused", said or "forbidden", final=True)
    if status is not None:
        number = int(status[1])
        lasting = (300 <= number < 500 and number not in _RETRIED) or number in _NEVER
        return Trouble("status", said, final=lasting)
    if type(error).__name__ in {"InvalidPathError", "NotSupportedError", "UnknownConfigurationKeyError"}:
        return Trouble("status", type(error).__name__, final=True)
    short = next((words for sign, words in _SHORT if re.search(sign, text)), "the connection broke")
    return Trouble("connection", short, final=False)


def told(trouble: Trouble, place: RemotePlace, tries: int) -> RemoteError:
    """The error that people see: what was asked, what came of it, and what to do."""
    names = _CREDENTIALS[place.scheme]
    endings = {
        "bucket": f"there is no bucket {place.bucket!r}; make it, or correct the address",
        "no credentials": f"no credentials were found; set {names}, or run where the provider gives a machine its own",
        "plain http": f"its endpoint is not encrypted; if that is meant, set {_PLAIN_HTTP[place.scheme]}=true",
        "region": "it is in another region; set AWS_REGION to that of the bucket",
        "refused": (
            f"access was refused ({trouble.what}); look at {names}, and whether they may get, put, delete and list "
            "objects there"
        ),
        "status": f"the request failed ({trouble.what})",
        "connection": "it cannot be reached",
    }
    asked_again = ""
    if trouble.kind in {"status", "connection"} and not trouble.final:
        last = f"; the last time {trouble.what}" if trouble.kind == "connection" else ""
        asked_again = f" in {tries} tries{last}; the same command goes on once it answers"
    return RemoteError(f"{place}: {endings[trouble.kind]}{asked_again}")

"""What a server's answer, or its silence, means for a file: pure functions, no network."""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore2

from hangtag.catalogue.web.addresses import AddressRefused, NotResolved
from hangtag.errors import first_line

Headers = Sequence[tuple[bytes, bytes]]

PASSING = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses that may be another one a little later."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORDS = {
    401: "asks for a password",
    403: "is forbidden",
    404: "is not there",
    410: "is gone for good",
    429: "was asked for too often",
    451: "is withheld for legal reasons",
}


@dataclass(frozen=True)
class Failure:
    """Why there is no file: a short reason and a sentence.

    `passing` where another try may succeed; `asked` where the server asked to come back later, `wait` after how many
    seconds (0 where it did not say); `silent` where the host did not answer at all.
    """

    reason: str
    detail: str
    passing: bool = False
    asked: bool = False
    wait: float = 0.0
    silent: bool = False


def header(headers: Headers, name: str) -> str:
    """All values of a header, joined by commas; "" where there is none. UTF-8, or else Latin-1."""
    wanted = name.lower().encode()
    value = b", ".join(value for key, value in headers if key.lower() == wanted)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def status_failure(status: int, headers: Headers, now: datetime | None = None) -> Failure:
    """What a status other than 200 says."""
    wait = retry_after(header(headers, "retry-after"), now)
    words = _WORDS.get(status, "cannot be had")
    detail = f"the server answered {status}: it {words}"
    passing = status in PASSING
    return Failure(f"http-{status}", detail, passing, passing and (status == 429 or wait > 0), passing * wait)


def retry_after(value: str, now: datetime | None = None) -> float:
    """Seconds to wait as a Retry-After header says: a number or a date; 0 where it says nothing sensible."""
    value = value.strip()
    if value.isdecimal() and len(value) < 10:
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return 0.0
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())


def forbids_ai(value: str, agent: str) -> bool:
    """Whether X-Robots-Tag says noai or noimageai, to all or to `agent`; other bots' rules do not count."""
    for rule in value.lower().split(","):
        bot, colon, directive = rule.partition(":")
        if colon and bot.strip() != agent:
            continue
        if (directive if colon else bot).strip() in ("noai", "noimageai"):
            return True
    return False


def decoded(body: bytes, encoding: str, most: int) -> bytes:
    """The body behind a Content-Encoding that nobody asked for.

    Raises:
        ValueError: an unknown encoding, damaged data, or more than `most` bytes.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(f"Content-Encoding {encoding[:20]} was not asked for and is not read")
    inflater = zlib.decompressobj(47)  # gzip or zlib, by its header
    try:
        data = inflater.decompress(body, most + 1)
    except zlib.error as error:
        raise ValueError(f"the {encoding} content is damaged ({error})") from None
    if len(data) > most:
        raise ValueError(f"more than {most:,} bytes once unpacked")
    if not inflater.eof:
        raise ValueError(f"the {encoding} content is cut short")
    return data


def error_failure(error: Exception) -> Failure:
    """What an error of the connection says."""
    detail = first_line(error)
    if isinstance(error, AddressRefused):
        return Failure("private", detail)
    if isinstance(error, NotResolved):
        return Failure("no-host", detail, error.passing, silent=True)
    if isinstance(error, httpcore2.ConnectTimeout):
        return Failure("time-out", "no connection in time", True, silent=True)
    if isinstance(error, (httpcore2.TimeoutException, TimeoutError)):
        return Failure("time-out", "the server stopped sending", True, silent=True)
    if isinstance(error, httpcore2.ConnectError):
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return Failure("certificate", f"the server's certificate is not valid: {cause.verify_message}")
            cause = cause.__cause__ or cause.__context__
        return Failure("no-connection", f"no connection: {detail}", True, silent=True)
    if isinstance(error, httpcore2.LocalProtocolError):
        return Failure("bad-url", f"the URL cannot be asked for: {detail}")
    return Failure("broken-off", f"the connection broke off: {detail}", True)

"""What every request passes before it is looked at, and every answer before it leaves.

Whoever may not ask is refused here: a foreign Host (a page that rebinds its name to this machine), a foreign Origin,
no token. Answers get security headers; what fails unforeseen is told to the operator's log, and to the client only
that it failed.
"""

from __future__ import annotations

import hmac
import sys
import time
from collections.abc import Callable
from datetime import datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hangtag.serving.bodies import Gone
from hangtag.serving.refusals import Refused, as_refused
from hangtag.serving.settings import Settings, is_loopback

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
}
_CLOSED_TO_STRANGERS = ("/v1/", "/metrics")
_GONE = 499

Answered = Callable[[str, int, float], None]


class Guard:
    """ASGI middleware around the whole application.

    Args:
        answered: told each request's route, status and seconds.
    """

    def __init__(self, app: ASGIApp, settings: Settings, answered: Answered) -> None:
        self.app, self.settings, self.answered = app, settings, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
            await self.app(scope, receive, guarded_send)
        except Gone:
            status = _GONE
        except Exception as error:
            if status:
                raise
            await as_refused(error).response()(scope, receive, guarded_send)
        finally:
            seconds = time.monotonic() - started
            self.answered(_route(scope), status or _GONE, seconds)
            if self.settings.access_log:
                _tell(scope, status or _GONE, seconds)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self.settings.is_local and not is_loopback(name):
            raise Refused(403, "this server answers only as localhost; start it with --host to open it to others")
        origin = headers.get("origin")
        if origin and method not in ("GET", "HEAD", "OPTIONS") and not self._is_known(origin.lower(), host.lower()):
            raise Refused(403, "pages of other sites may not ask this server; see --cors")
        if self.settings.token is not None and path.startswith(_CLOSED_TO_STRANGERS) and method != "OPTIONS":
            self._check_token(headers.get("authorization", ""))

    def _is_known(self, origin: str, host: str) -> bool:
        own = (f"http://{host}", f"https://{host}")
        return origin in own or origin in self.settings.origins or "*" in self.settings.origins

    def _check_token(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        expected = (self.settings.token or "").encode()
        # Compared whatever the scheme is, so that the time tells nothing.
        same = hmac.compare_digest(token.strip().encode("utf-8", "replace"), expected)
        if scheme.lower() != "bearer" or not same:
            message = "this server wants a token: Authorization: Bearer TOKEN"
            raise Refused(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def _route(scope: Scope) -> str:
    """The route's own path, so that strangers cannot make up metrics."""
    return getattr(scope.get("route"), "path", "other")


def _tell(scope: Scope, status: int, seconds: float) -> None:
    client = (scope.get("client") or ("-",))[0]
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    path = scope["path"].encode("unicode_escape").decode("ascii")[:200]
    print(f"{now} {client} {scope['method']} {path} {status} {1000 * seconds:.0f} ms", file=sys.stderr, flush=True)

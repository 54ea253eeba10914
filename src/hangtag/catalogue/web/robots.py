"""What a site's robots.txt allows this program (RFC 9309), as Protego reads it."""

from __future__ import annotations

import httpx2
from protego import Protego

AGENT = "hangtag"
MOST_BYTES = 500 * 1024
_LONGEST_DELAY = 30.0


class Rules:
    """The rules of one origin. `text` None stands for no rules: everything is allowed."""

    def __init__(self, text: str | None) -> None:
        self._rules = Protego.parse(text) if text else None

    def allow(self, url: httpx2.URL) -> bool:
        """Whether the URL may be asked for."""
        return self._rules is None or bool(self._rules.can_fetch(str(url), AGENT))

    @property
    def delay(self) -> float:
        """Seconds between two requests, as Crawl-delay asks; at most 30."""
        asked = self._rules.crawl_delay(AGENT) if self._rules else None
        return min(max(float(asked or 0), 0.0), _LONGEST_DELAY)


def robots_url(url: httpx2.URL) -> httpx2.URL:
    """Where the rules for a URL stand."""
    return url.copy_with(raw_path=b"/robots.txt", fragment=None)

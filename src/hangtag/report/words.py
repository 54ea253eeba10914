"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Callable


def thousands(value: float) -> str:
    """A whole number: `12,345`."""
    return f"{value:,.0f}"


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: `1 row`, `2,000 rows`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def share(part: float, whole: float) -> str:
    """A share in percent; of a few in very many not `0.0 %`, and not `100.0 %` while some are missing."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.05:
        return "< 0.1\u00a0%"
    if 99.95 <= percent < 100:
        return "> 99.9\u00a0%"
    return f"{percent:.1f}".removesuffix(".0") + "\u00a0%"


def weight(size: float) -> str:
    """Bytes in a unit of thousands: `5.2 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g}\u00a0{unit}"
        size /= 1000
    return f"{size:,.3g}\u00a0TB"


def large(value: float) -> str:
    """A number in millions or billions, where it has any: `308 thousand`, `5.21 M`, `1.2 G`."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}\u00a0{unit}"
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """A time of any length in its own unit: `9.4 s`, `12 min`, `3.1 h`, `2.5 days`."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g}\u00a0{unit}"
    return f"{seconds:.2g}\u00a0s" if seconds < 10 else f"{seconds:.0f}\u00a0s"


FILTERS: dict[str, Callable[..., str]] = {
    "thousands": thousands,
    "counted": counted,
    "share": share,
    "weight": weight,
    "large": large,
    "duration": duration,
}

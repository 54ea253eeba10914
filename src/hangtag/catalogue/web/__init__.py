"""Files from web servers: concurrent, polite to every host, closed to private networks."""

from hangtag.catalogue.web.downloader import Downloader, Limits, Outcome, download
from hangtag.catalogue.web.responses import Failure

__all__ = ["Downloader", "Failure", "Limits", "Outcome", "download"]

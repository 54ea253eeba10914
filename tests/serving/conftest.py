"""One model for all tests of the server, and one server that most of them ask."""

import pytest
from served import GatedModel, Served

from hangtag.prediction.loading import load


@pytest.fixture(scope="session")
def tagger(small_run):
    return load(small_run)


@pytest.fixture(scope="session")
def model(tagger, small_run):
    return GatedModel(tagger, small_run)


@pytest.fixture(scope="module")
def served(model):
    with Served(model) as server:
        yield server


@pytest.fixture(scope="session")
def photos(small_catalogue):
    """The bytes of a few pictures of the small catalogue."""
    return [each.read_bytes() for each in sorted((small_catalogue / "images").iterdir())[:12]]

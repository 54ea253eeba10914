"""docs/using.md is executed: its Python blocks, and the shape of a tag."""

import json
import re
from pathlib import Path

import pytest
from served import data_uri

PAGE = (Path(__file__).parents[2] / "docs" / "using.md").read_text()


def block(word):
    return next(each for each in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if word in each)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_openai_client(served, photos, tagger, capsys):
    code = block("OpenAI")
    for name, value in (
        ("http://127.0.0.1:8000", served.url),
        ('"demo"', '"small"'),
        ("data:image/jpeg;base64,...", data_uri(photos[0])),
    ):
        assert name in code
        code = code.replace(name, value)
    exec(code, {})
    assert set(json.loads(capsys.readouterr().out)) == set(tagger.recipe.task.template.names)


def test_in_python(small_run, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/demo").symlink_to(small_run)
    Path("photo.jpg").write_bytes(photos[0])
    exec(block("hangtag.load"), {})
    assert "'fields': {'title'" in capsys.readouterr().out


def test_the_tag_shown_has_the_shape_of_a_tag(tagger, photos, tmp_path):
    shown = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    (tmp_path / "photo.jpg").write_bytes(photos[0])
    (tag,) = tagger.tags([tmp_path / "photo.jpg"])

    def shape(value):
        return {key: shape(each) for key, each in value.items()} if isinstance(value, dict) else None

    assert shape(shown) == shape(tag.record())
    assert list(shown) == list(tag.record())

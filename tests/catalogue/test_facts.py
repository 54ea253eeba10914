"""Facts of pictures: measured once, kept in the journal, and measured again where the file is another."""

import json

from PIL import Image

from hangtag.catalogue import open_catalogue
from hangtag.catalogue.duplicates import picture_hash
from hangtag.catalogue.facts import PictureFacts
from hangtag.catalogue.pictures import sketch_picture


def slow(catalogue):
    facts = {}
    for row in catalogue.rows:
        path = catalogue.image_path(row)
        with Image.open(path) as image:
            size = image.size
        digest = picture_hash(sketch_picture(path).greys)
        facts[row["file_name"]] = PictureFacts(*size, path.stat().st_size, digest)
    return facts


def line(name, width, facts):
    return json.dumps({"place": name, "file_name": name, **vars(facts), "width": width}) + "\n"


def test_facts_are_those_of_the_files(small_catalogue):
    catalogue = open_catalogue(small_catalogue)
    seen = []
    assert catalogue.picture_facts(lambda done, total: seen.append((done, total))) == slow(catalogue)
    assert seen == [(number, 60) for number in range(1, 61)]


def test_what_is_known_is_not_measured_again(small_catalogue, tmp_path):
    (tmp_path / "copy/images").mkdir(parents=True)
    for path in [*small_catalogue.glob("*.*"), *small_catalogue.glob("images/*")]:
        (tmp_path / "copy" / path.relative_to(small_catalogue)).write_bytes(path.read_bytes())
    catalogue = open_catalogue(tmp_path / "copy")
    facts = slow(catalogue)
    names = list(facts)
    changed = PictureFacts(7, 7, facts[names[0]].bytes + 1, "")  # the file has changed since
    journal = [
        line(names[0], 7, changed),
        *(line(name, 7, facts[name]) for name in names[1:50]),
        '{"place": "x"}\n',
        "[1",
    ]
    (catalogue.path / "fetched.jsonl").write_text("".join(journal))
    seen = []
    found = catalogue.picture_facts(lambda done, total: seen.append(total))
    assert seen == [11] * 11
    assert [found[name].width for name in names] == [96, *[7] * 49, *[96] * 10]
    (catalogue.path / "fetched.jsonl").write_bytes(b"\xff\xfe damaged")
    assert catalogue.picture_facts() == facts

"""Facts of pictures: measured once, kept, and measured again where the file is another."""

from PIL import Image

from hangtag.catalogue import open_catalogue
from hangtag.catalogue.duplicates import picture_hash
from hangtag.catalogue.facts import PictureFacts, picture_facts, write_facts


def slow(catalogue):
    facts = {}
    for row in catalogue.rows:
        path = catalogue.image_path(row)
        with Image.open(path) as image:
            facts[row["file_name"]] = PictureFacts(*image.size, path.stat().st_size, picture_hash(image))
    return facts


def test_facts_are_those_of_the_files(small_catalogue):
    catalogue = open_catalogue(small_catalogue)
    seen = []
    assert picture_facts(catalogue, lambda done, total: seen.append((done, total))) == slow(catalogue)
    assert seen == [(number, 60) for number in range(1, 61)]


def test_what_is_known_is_not_measured_again(small_catalogue, tmp_path):
    (tmp_path / "copy/images").mkdir(parents=True)
    for path in [*small_catalogue.glob("*.*"), *small_catalogue.glob("images/*")]:
        (tmp_path / "copy" / path.relative_to(small_catalogue)).write_bytes(path.read_bytes())
    catalogue = open_catalogue(tmp_path / "copy")
    facts = slow(catalogue)
    names = list(facts)
    known = {name: PictureFacts(7, 7, facts[name].bytes, facts[name].hash) for name in names[:50]}
    known[names[0]] = PictureFacts(7, 7, facts[names[0]].bytes + 1, "")  # the file has changed since
    write_facts(catalogue.path, known)
    with open(catalogue.path / "pictures.csv", "a") as file:
        file.write(f"{names[55]},wide,7,1,\n{names[56]},7,7,{facts[names[56]].bytes},xyz\n{names[57]},7\n")
    seen = []
    found = picture_facts(catalogue, lambda done, total: seen.append(total))
    assert seen == [11] * 11
    assert found == {**facts, **{name: known[name] for name in names[1:50]}}
    (catalogue.path / "pictures.csv").write_bytes(b"\xff\xfe damaged")
    assert picture_facts(catalogue) == facts

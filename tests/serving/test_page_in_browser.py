"""The page in a real browser, before a real server: pictures dropped, picked and pasted become tags."""

import csv
import io
import json
import threading
import time

import pytest
from PIL import Image
from served import GatedModel, Served

from hangtag.files import read_json
from hangtag.prediction.tagger import Tagger
from hangtag.recipe import Data, Recipe, Task

TAGS = "document.querySelectorAll('.written').length"
VISIBLE = "[...document.querySelectorAll('{}')].filter((each) => each.getClientRects().length).length"
FOCUS = "(document.activeElement.id || document.activeElement.value || document.activeElement.textContent)"


@pytest.fixture(scope="module")
def served(model):
    assert model.neighbours.wait(60)
    with Served(model) as server:
        yield server


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, small_catalogue):
    """Files of a few of the small catalogue's pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    found = []
    for number, each in enumerate(sorted((small_catalogue / "images").iterdir())[:4], 1):
        found.append(folder / f"product {number}.jpg")
        found[-1].write_bytes(each.read_bytes())
    return found


@pytest.fixture
def opened(browser, served):
    browser.open(served.url, motion=False)
    return browser


def texts(browser, selector):
    return browser.run(f"[...document.querySelectorAll('{selector}')].map((each) => each.textContent)")


def fits(browser):
    return browser.run("document.documentElement.scrollWidth <= innerWidth")


def predicted(served, path, **options):
    return served.predict(path.read_bytes(), params=options).json()["tags"][0]


def test_pictures_that_are_dropped_together_become_tags(opened, served, pictures):
    opened.drag("dragEnter", pictures[:2])
    assert opened.run(VISIBLE.format("#over")) == 1
    opened.drop(pictures[:2])
    opened.until(f"{TAGS} === 2")
    assert opened.run(VISIBLE.format("#over")) == 0
    tags = [predicted(served, each, neighbours=3) for each in pictures[:2]]
    assert texts(opened, ".tag .title") == [each["fields"]["title"] for each in tags]
    assert texts(opened, ".tag .kind bdi") == [each["fields"]["category3_code"] for each in tags]
    shown = [each.replace(",", "") for each in texts(opened, ".tag .value")]
    assert [float(each) for each in shown] == [each["fields"]["full_price"] for each in tags]
    assert texts(opened, ".file") == [each.name for each in pictures[:2]]
    opened.until("[...document.images].every((each) => each.naturalWidth > 0)")
    near = [each["fields"]["title"] for tag in tags for each in tag["neighbours"]]
    assert texts(opened, ".near .name") == near
    assert len(near) == 6
    assert texts(opened, "#count") == ["2 tags"]
    assert opened.troubles == []
    assert set(opened.asked) <= {"GET /", "POST /v1/predict"} | {
        f"GET {each['picture']}" for tag in tags for each in tag["neighbours"]
    }


def test_the_doubt_is_told_in_words_and_numbers(opened, served, pictures):
    opened.drop(pictures[:1])
    opened.until(f"{TAGS} === 1")
    tag = predicted(served, pictures[0])
    doubts = texts(opened, ".tag .doubt")
    confidence = [tag["confidence"][name] for name in ("category3_code", "title", "full_price")]
    for told, sure in zip(doubts, confidence, strict=True):
        assert (f"{round(100 * sure)} %" in told) or ("> 99 %" in told and sure > 0.995)
        word = (
            "very sure" if sure >= 0.9 else "fairly sure" if sure >= 0.7 else "not sure" if sure >= 0.4 else "a guess"
        )
        assert word in told
    low, high = (f"{round(tag['numbers']['full_price'][end]):,}" for end in ("low", "high"))
    assert f"between {low} and" in texts(opened, ".ends")[0]
    assert texts(opened, ".ends")[0].endswith(high)
    assert opened.run(VISIBLE.format(".own")) == (not tag["calibrated"])
    opened.until("document.getElementById('status').textContent.includes('product 1.jpg: title')")


def test_a_picture_is_picked_in_the_dialog(opened, pictures):
    opened.pick("#pick", pictures[1:3])
    opened.until(f"{TAGS} === 2")
    opened.pick("#photograph", pictures[:1])
    opened.until(f"{TAGS} === 3")
    assert texts(opened, ".file") == [pictures[place].name for place in (0, 1, 2)]
    assert opened.troubles == []


def test_a_picture_is_pasted(opened, pictures, tmp_path):
    Image.open(pictures[0]).save(tmp_path / "copied.png")
    opened.paste(tmp_path / "copied.png")
    opened.until(f"{TAGS} === 1")
    assert texts(opened, ".file") == ["image.png"]
    assert opened.troubles == []


def test_one_that_is_no_picture_ends_nothing(opened, pictures, tmp_path):
    damaged = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    damaged.write_bytes(pictures[0].read_bytes()[:700])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder").mkdir()
    opened.drop([pictures[0], damaged, tmp_path / "empty.jpg", tmp_path / "folder"])
    opened.until(f"{TAGS} === 1 && document.querySelectorAll('.trouble').length === 3")
    assert texts(opened, ".file")[1] == damaged.name
    cut, empty, folder = texts(opened, ".why")
    assert cut.startswith("The file is truncated")
    assert "nothing in it" in empty
    assert "folder" in folder
    assert texts(opened, "#count") == ["1 of 4 tags"]
    assert {each.rpartition(" ")[2] for each in opened.troubles} == {"Entity)", "net::ERR_FILE_NOT_FOUND"}


def test_the_heat_is_switched_on_and_off(opened, served, pictures):
    opened.drop(pictures[:1])
    opened.until(f"{TAGS} === 1")
    heat = predicted(served, pictures[0], heat=True)["heat"]
    assert texts(opened, ".heat label") == ["off", "title", "category3 code", "full price", "all"]
    drawn = {}
    for name in ("title", "full_price", "all"):
        opened.click(f".heat input[value={name}]")
        opened.until("document.querySelector('.hot canvas')")
        canvas = "document.querySelector('.picture canvas')"
        assert opened.run(f"[{canvas}.height, {canvas}.width]") == [heat["rows"], heat["columns"]]
        drawn[name] = opened.run(
            f"[...{canvas}.getContext('2d').getImageData(0, 0, {heat['columns']}, {heat['rows']}).data]"
        )[3::4]
        cells = [each for row in heat["fields"][name] for each in row]
        hottest = max(range(len(cells)), key=cells.__getitem__)
        assert drawn[name][hottest] == max(drawn[name])
        assert texts(opened, ".told")[0]
        same = (
            "(each) => { const {left, top, width} = each.getBoundingClientRect(); return [left, top, width].join(); }"
        )
        assert opened.run(f"({same})({canvas}) === ({same})(document.querySelector('.picture img'))")
    assert opened.asked.count("POST /v1/predict") == 2
    opened.click(".heat input[value='']")
    assert opened.run("document.querySelector('.picture canvas')") is None
    assert opened.troubles == []


def test_the_keyboard_alone_is_enough(opened, pictures):
    opened.ask("Page.setInterceptFileChooserDialog", enabled=True)
    opened.key("Tab")
    assert opened.run("document.activeElement.textContent") == "API"
    opened.key("Tab")
    assert opened.run(FOCUS) == "pick"
    assert opened.run("getComputedStyle(document.activeElement.parentElement).outlineStyle") == "solid"
    opened.key("Enter", text="\r", windowsVirtualKeyCode=13)
    opened.until("true")
    assert "Page.fileChooserOpened" in opened.events
    opened.ask("Page.setInterceptFileChooserDialog", enabled=False)
    opened.pick("#pick", pictures[:2])
    opened.until(f"{TAGS} === 2")
    order = []
    for _ in range(9):
        opened.key("Tab", windowsVirtualKeyCode=9)
        order.append(opened.run(f"document.activeElement.ariaLabel ?? {FOCUS}"))
    one = ["", "Copy JSON", "Remove"]
    assert order[:3] == ["csv", "json", "clear"]
    assert [each.split(" product")[0].replace("on", "", each == "on") for each in order[3:9]] == one * 2
    opened.run("document.querySelector('.heat input').focus()")
    opened.key("ArrowRight", windowsVirtualKeyCode=39)
    opened.until("document.querySelector('.hot canvas')")
    assert opened.run("document.activeElement.value") == "title"
    opened.run("document.querySelector('.remove').focus()")
    opened.key("Enter", text="\r", windowsVirtualKeyCode=13)
    assert opened.run("document.activeElement.ariaLabel") == f"Remove {pictures[1].name}"
    opened.key("Enter", text="\r", windowsVirtualKeyCode=13)
    assert opened.run(FOCUS) == "pick"
    assert opened.run(VISIBLE.format("#made")) == 0
    assert opened.troubles == []


def test_every_control_has_a_name(opened, pictures):
    opened.drop(pictures[:1])
    opened.until(f"{TAGS} === 1")
    opened.ask("Accessibility.enable")
    nodes = opened.ask("Accessibility.getFullAXTree")["nodes"]
    found = [
        (each["role"]["value"], each.get("name", {}).get("value", "")) for each in nodes if not each.get("ignored")
    ]
    controls = [
        each for each in found if each[0] in ("button", "link", "radio", "textbox", "image", "article", "dialog")
    ]
    assert all(name for _, name in controls), controls
    assert ("radio", "category3 code") in controls
    assert ("button", "Remove product 1.jpg") in controls
    roles = [role for role, _ in found]
    assert roles.count("article") == 1
    assert {"main", "banner", "status", "list", "region"} <= set(roles)
    assert texts(opened, "h1, article h2, article h3") == [
        "What would its tag say?", *texts(opened, ".tag .title"), "Why this full price?"
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(browser, served, pictures, tmp_path, scheme):
    (tmp_path / "notes.jpg").write_text("no picture")
    browser.open(served.url, scheme=scheme, motion=False)
    assert browser.low_contrast() == {}
    browser.drop([pictures[0], tmp_path / "notes.jpg"])
    browser.until(f"{TAGS} === 1 && document.querySelector('.trouble')")
    browser.click(".heat input[value=all]")
    browser.until("document.querySelector('.told').textContent.startsWith('The tag') || "
                  "document.querySelector('.told').textContent.startsWith('No single')")  # fmt: skip
    assert browser.low_contrast() == {}


def test_a_phone_scrolls_one_way_only(browser, served, pictures, tmp_path):
    (tmp_path / f"{'a' * 120}.jpg").write_text("no picture")
    for width in (320, 390):
        browser.open(served.url, width, 800, motion=False)
        assert fits(browser)
        browser.drop([pictures[0], tmp_path / f"{'a' * 120}.jpg"], x=100)
        browser.until(f"{TAGS} === 1 && document.querySelector('.trouble')")
        browser.click(".heat input[value=all]")
        browser.until("document.querySelector('.told').textContent.includes(' the tag') || "
                      "document.querySelector('.told').textContent.startsWith('The tag')")  # fmt: skip
        assert fits(browser)
        small = "[...document.querySelectorAll('button, .button, .heat label')].filter((each) => each.getClientRects()"
        assert browser.run(f"{small}.length && each.getBoundingClientRect().height < 28).length") == 0


def test_nothing_moves_where_that_is_unwanted(opened, pictures):
    opened.drop(pictures[:1])
    opened.until(f"{TAGS} === 1")
    assert opened.run("document.getAnimations().length") == 0


def test_it_prints_without_controls(opened, pictures):
    opened.drop(pictures[:2])
    opened.until(f"{TAGS} === 2")
    opened.screen(794, media="print")
    assert opened.run(VISIBLE.format("button, input, dialog, .welcome")) == 0
    assert opened.run(VISIBLE.format(".tag .value")) == 2
    opened.screen()
    assert opened.pdf().startswith(b"%PDF-")


def test_nothing_but_its_own_scripts_runs(opened):
    opened.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit = 1\">')")
    opened.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 1'}))")
    opened.run(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'https://shop.example/a.png'}))"
    )
    opened.settle()
    assert opened.run("window.hit") is None
    assert sum("Content Security Policy" in str(each) for each in opened.troubles) >= 3


def test_tags_are_copied_and_downloaded(opened, served, pictures, tmp_path):
    opened.drop(pictures[:2])
    opened.until(f"{TAGS} === 2")
    tag = predicted(served, pictures[0])
    opened.ask("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    opened.run("[...document.querySelectorAll('.tools button')][0].click()")
    opened.until("document.querySelector('.tools button').textContent === 'Copied'")
    copied = json.loads(opened.run("navigator.clipboard.readText()"))
    assert list(copied) == ["name", "fields", "confidence", "numbers", "raw", "error", "calibrated"]
    assert copied["name"] == pictures[0].name
    for name in ("fields", "raw", "error", "calibrated"):
        assert copied[name] == tag[name]
    # Beside another picture in its batch the last digits may differ.
    assert copied["confidence"] == pytest.approx(tag["confidence"], rel=1e-3)
    assert copied["numbers"]["full_price"] == pytest.approx(tag["numbers"]["full_price"], rel=1e-3)
    opened.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    for kind in ("csv", "json"):
        opened.click(f"#{kind}")
        end = time.monotonic() + 20
        while not (tmp_path / f"tags.{kind}").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
    assert read_json(tmp_path / "tags.json")[0] == copied
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tags.csv").read_text("utf-8-sig"))))
    assert [each["name"] for each in rows] == [each.name for each in pictures[:2]]
    assert rows[0]["title"] == tag["fields"]["title"]
    assert float(rows[0]["full_price_low"]) == copied["numbers"]["full_price"]["low"]
    assert opened.troubles == []


def test_a_token_is_asked_for_until_it_is_right(browser, model, pictures):
    with Served(model, token="s3cret") as served:
        browser.open(served.url, motion=False)
        browser.drop(pictures[:2])
        for given, told in (("wrong", "Whoever started it"), ("s3cret", "not the right one")):
            browser.until("document.getElementById('token').open")
            browser.until(f"document.getElementById('token-why').textContent.includes('{told}')")
            assert browser.run(FOCUS) == "token-field"
            assert browser.low_contrast() == {}
            browser.ask("Input.insertText", text=given)
            browser.key("Enter", text="\r", windowsVirtualKeyCode=13)
        browser.until(f"{TAGS} === 2")
        browser.until("[...document.images].every((each) => each.naturalWidth > 0)")
        assert browser.run("document.querySelectorAll('.near img').length") == 6
        assert [each for each in browser.troubles if "401" not in str(each)] == []
        browser.open(served.url, motion=False)
        browser.drop(pictures[:1])
        browser.until("document.getElementById('token').open")
        browser.key("Escape", windowsVirtualKeyCode=27)
        browser.until("document.querySelector('.why')?.textContent.includes('token')")
        assert browser.asked.count("POST /v1/predict") == 0


def test_it_comes_back_to_a_busy_server(browser, model, pictures):
    with Served(model, {"places": 1, "pictures": 1}) as served, served.closed_gate():
        browser.open(served.url, motion=False)
        browser.drop(pictures[:2])
        browser.until("[...document.querySelectorAll('.doing')].some((each) => each.textContent.includes('busy'))")
        served.model.gate.set()
        browser.until(f"{TAGS} === 2")
        assert browser.asked.count("POST /v1/predict") >= 3
        assert [each for each in browser.troubles if "503" not in str(each)] == []


def test_too_large_a_file_is_not_sent_and_a_silent_server_is_told(browser, model, pictures, tmp_path):
    (tmp_path / "large.jpg").write_bytes(pictures[0].read_bytes() + bytes(400_000))
    with Served(model, {"body": 300_000}) as served:
        browser.open(served.url, motion=False)
        browser.drop([tmp_path / "large.jpg"])
        browser.until("document.querySelector('.why')")
        assert "at most 0.3 MB" in texts(browser, ".why")[0]
        assert "POST /v1/predict" not in browser.asked
    browser.drop(pictures[:1])
    browser.until("document.querySelectorAll('.why').length === 2")
    assert "cannot be reached" in texts(browser, ".why")[0]
    assert texts(browser, ".trouble button") == ["Try again"]


def test_any_template_makes_a_tag(browser, tagger, pictures, tmp_path):
    """A model held to a template that it never saw, of other fields; the run has no catalogue and no neighbours."""
    answer = "{weight} kg, {made_in}; {weave} of {fibre}, {length} cm"
    fields = {"weight": "number", "made_in": "category", "weave": "text", "fibre": "category", "length": "number"}
    recipe = Recipe(data=Data(path=str(tmp_path / "gone")), task=Task(answer=answer, fields=fields))
    known = {"made_in": ["Italy", "Peru"], "fibre": ["wool", "silk"]}
    other = GatedModel(Tagger(tagger.model, tagger.processor, recipe, 4, known), tmp_path)
    assert other.neighbours is None
    with Served(other) as served:
        browser.open(served.url, motion=False)
        browser.drop(pictures[:1])
        browser.until(f"{TAGS} === 1")
        tag = predicted(served, pictures[0])
        assert texts(browser, ".tag .title") == [tag["fields"]["weave"]]
        assert texts(browser, ".tag .kind bdi") == [tag["fields"]["made_in"]]
        assert texts(browser, ".figure .what") == ["weight"]
        assert texts(browser, ".rest dt") == ["fibre", "length"]
        assert texts(browser, ".near") == [""]
        assert texts(browser, ".heat label") == ["off", "weight", "made in", "weave", "fibre", "length", "all"]
        assert browser.troubles == []


def test_similar_products_that_are_still_being_made_are_shown_later(browser, served, model, pictures, monkeypatch):
    making, thread = threading.Event(), threading.Thread(target=lambda: making.wait(60))
    thread.start()
    with monkeypatch.context() as early:
        early.setattr(model.neighbours, "_unit_ND", None)
        early.setattr(model.neighbours, "_thread", thread)
        browser.open(served.url, motion=False)
        browser.drop(pictures[:1])
        browser.until(f"{TAGS} === 1 && document.querySelector('.near .explained')?.textContent.includes('as soon as')")
        assert texts(browser, ".near .name") == []
        assert predicted(served, pictures[0], neighbours=3)["neighbours"] is None
        assert predicted(served, pictures[0])["neighbours"] == []
    making.set()
    thread.join()
    browser.until("document.querySelectorAll('.near .name').length === 3")
    near = predicted(served, pictures[0], neighbours=3)["neighbours"]
    assert texts(browser, ".near .name") == [each["fields"]["title"] for each in near]
    assert browser.troubles == []

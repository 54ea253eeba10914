"""The report in a real browser: it draws without a word of complaint, hovers, filters, searches, sorts and prints."""

import json
import re

import pytest

from hangtag.files import read_jsonl
from hangtag.report import write_report

CARDS = "[...document.querySelectorAll('#cards .card')]"
SHOWN = f"{CARDS}.map((card) => Number(card.dataset.place))"
TAG = """(card) => ({text: card.innerText.replace(/\\s+/g, " ").trim(), picture: card.querySelector("img").src,
  classes: [...card.querySelectorAll("*")].map((each) => each.className)})"""
FIELDS = ["title", "category3_code", "full_price"]


@pytest.fixture(scope="module")
def page(run):
    return write_report(run)


@pytest.fixture(scope="module")
def rows(page):
    """The rows as the page's script reads them, worst first; from them the tests say what should be shown."""
    found = re.search(r'id="payload">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1]
    return json.loads(found)["rows"]


def choose(browser, selector, value):
    browser.run(
        f"(() => {{const it = document.querySelector({json.dumps(selector)}); it.value = {json.dumps(value)}; "
        "it.dispatchEvent(new Event(it.type === 'search' ? 'input' : 'change', {bubbles: true}));})()"
    )


def places(browser):
    """All rows that fit the filters, in order, after asking for more as long as there are any."""
    while not browser.run("document.querySelector('#more').hidden"):
        browser.run("document.querySelector('#more').click()")
    return browser.run(SHOWN)


def test_it_draws_in_silence_and_no_wider_than_the_window(browser, page):
    for width in (390, 1200):
        browser.open(page, width)
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run("document.querySelectorAll('#cards .card').length") == 12
        assert browser.run("[...document.images].every((each) => each.naturalWidth > 0)")
        assert browser.troubles == []


def test_the_policy_lets_nothing_else_run(browser, page):
    browser.open(page)
    browser.run(
        "document.body.insertAdjacentHTML('beforeend', "
        '\'<img src=x onerror="window.hit = 1"><p onclick="window.hit = 1">\') || '
        "document.querySelector('body > p:last-child').click()"
    )
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 1'}))"
    )
    browser.settle()
    assert browser.run("window.hit") is None
    assert sum("Content Security Policy" in str(each) for each in browser.troubles) >= 3


def test_the_script_makes_the_same_cards_as_the_server(browser, page):
    browser.open(page)
    browser.run("document.documentElement.classList.remove('js')")
    places(browser)
    served = browser.run(f"[...document.querySelectorAll('.picks .card')].map({TAG})")
    order = browser.run("[...document.querySelectorAll('.picks .card')].map((card) => Number(card.dataset.place))")
    made = browser.run(f"{CARDS}.map({TAG})")
    assert len(served) == 36
    assert [made[place] for place in order] == served


def test_without_scripts_the_picked_cards_are_there(browser, page):
    browser.open(page, scripts=False)
    visible = "[...document.querySelectorAll('{}')].filter((each) => each.getClientRects().length).length"
    assert browser.run(visible.format(".picks .card")) == 36
    assert browser.run(visible.format(".controls")) == 0


def test_filters_show_exactly_their_rows(browser, page, rows):
    everything = list(range(len(rows)))
    browser.open(page)
    assert places(browser) == everything
    browser.click("input[value=best]")
    assert places(browser) == everything[::-1]
    browser.click("input[value=random]")
    assert sorted(places(browser)) == everything != places(browser)
    browser.click("input[value=worst]")
    readable = [each for each in everything if "w" in rows[each]]
    wanted = {
        "right": [each for each in everything if set(rows[each]["v"]) == {"r"}],
        "wrong": [each for each in everything if "w" in rows[each]["v"]],
        "unreadable": [each for each in everything if "w" not in rows[each]],
        "outside 2": [each for each in readable if rows[each]["o"][2]],
    } | {f"wrong {field}": [each for each in everything if rows[each]["v"][field] == "w"] for field in range(3)}
    for choice, shown in wanted.items():
        choose(browser, "#error", choice)
        assert places(browser) == shown, choice
        assert shown or choice == "right"
    choose(browser, "#error", "wrong 0")
    kind = rows[wanted["wrong 0"][0]]["t"][1]
    choose(browser, "select.category", f"={kind}")
    both = [each for each in wanted["wrong 0"] if rows[each]["t"][1] == kind]
    assert places(browser) == both
    assert browser.run("document.querySelector('#count').textContent") == (
        f"{len(both)} of {len(both)} answer{'s' if len(both) > 1 else ''} (of {len(rows)})"
    )


def test_search_finds_words_in_any_text_of_a_row(browser, page, rows):
    browser.open(page)
    for words in ("COTTON", "navy cotton", "00015.jpg", "no such thing"):
        choose(browser, "#search", words)
        texts = [" ".join([row["f"], *row["t"], *row.get("w", []), row.get("x") or ""]).lower() for row in rows]
        fitting = [place for place, text in enumerate(texts) if all(each in text for each in words.lower().split())]
        assert places(browser) == fitting
        assert bool(fitting) == (words != "no such thing")
    assert browser.run("document.querySelector('#count').textContent") == "No answer fits these filters."


def test_what_is_there_agrees_with_the_predictions(run, rows):
    predictions = {each["file_name"]: each for each in read_jsonl(run / "evaluation/test/predictions.jsonl")}
    assert {each["f"] for each in rows} == set(predictions)
    for row in rows:
        told = predictions[row["f"]]
        assert row["t"][:2] == [told["truth"][name] for name in FIELDS[:2]]
        assert ("w" in row) == told["readable"]
        if told["readable"]:
            assert [each == "r" for each in row["v"]] == [
                told["answer"][name] == told["truth"][name] for name in FIELDS
            ]
            low, high = (told["numbers"]["full_price"][end] for end in ("low", "high"))
            assert row["o"][2] == (not low <= told["truth"]["full_price"] <= high)


def test_a_dot_shows_its_picture(browser, page, rows):
    browser.open(page)
    assert browser.run("document.querySelector('#hover').hidden")
    readable = [place for place, row in enumerate(rows) if "w" in row]
    for place in readable[::8]:
        dot = f'circle[data-place="{place}"]'
        browser.move(*browser.middle(dot))
        browser.settle()
        name = browser.run("document.querySelector('#hover .card').dataset.place")
        at = "(dot) => [dot.getAttribute('cx'), dot.getAttribute('cy')].join()"
        same = f"({at})(document.querySelector('circle[data-place=\"{name}\"]'))"
        assert browser.run(f"{same} === ({at})(document.querySelector('{dot}'))")
        shown = browser.run("document.querySelector('#hover img').src")
        choose(browser, "#search", rows[int(name)]["f"])
        assert shown == browser.run("document.querySelector('#cards img').src")
        assert rows[int(name)]["t"][0] in browser.run("document.querySelector('#hover').innerText")
    browser.move(5, 5)
    assert browser.run("document.querySelector('#hover').hidden")
    assert browser.troubles == []


def test_arrow_keys_step_through_the_dots(browser, page, rows):
    browser.open(page)
    browser.move(5, 5)
    browser.middle("svg.scatter")
    browser.run("document.querySelector('svg.scatter').focus()")
    prices = []
    for _ in range(4):
        browser.key("ArrowRight")
        place = int(browser.run("document.querySelector('#hover .card').dataset.place"))
        prices.append(float(rows[place]["t"][2]))
        assert rows[place]["t"][0] in browser.run("document.querySelector('#hover-words').textContent")
    assert prices == sorted(float(row["t"][2]) for row in rows if "w" in row)[:4]
    browser.key("Escape")
    assert browser.run("document.querySelector('#hover').hidden")


def test_estimates_are_drawn_with_their_intervals(browser, page, rows):
    browser.open(page)
    written = browser.run("document.querySelector('svg.scatter').innerHTML")
    browser.click("figure.dots input[value=estimate]")
    assert browser.run("document.querySelectorAll('circle.far').length") == sum(
        row.get("o", [0] * 3)[2] for row in rows
    )
    paths = browser.run("[...document.querySelectorAll('.spans')].map((each) => each.getAttribute('d'))")
    assert sum(each.count("M") for each in paths) == sum("w" in row for row in rows)
    assert "NaN" not in browser.run("document.querySelector('svg.scatter').innerHTML")
    assert "estimated full_price" in browser.run("document.querySelector('svg.scatter').textContent")
    browser.click("figure.dots input[value=written]")
    assert browser.run("document.querySelector('svg.scatter').innerHTML").count("<circle") == written.count("<circle")
    assert browser.run("document.querySelector('.spans').getAttribute('d')") == ""


def test_a_table_sorts_by_the_column_that_is_clicked(browser, page):
    browser.open(page)
    column = (
        "[...document.querySelectorAll('.sortable tbody tr')].map((row) => row.cells[{}])"
        ".map((cell) => cell.dataset.value ?? cell.innerText)"
    )
    for number in (2, 5):
        values = []
        for _ in range(2):
            browser.click(f".sortable th:nth-child({number + 1}) button")
            values.append([float(each) for each in browser.run(column.replace("{}", str(number)))])
        assert values == [sorted(values[0], reverse=True), sorted(values[0])]
        assert browser.run(f"document.querySelector('.sortable th:nth-child({number + 1})').ariaSort") == "ascending"
        assert browser.run("document.querySelectorAll('.sortable [aria-sort]').length") == 1
    browser.click(".sortable th:first-child button")
    names = browser.run(column.replace("{}", "0"))
    assert names == sorted(names)


def test_it_prints_without_controls(browser, page):
    browser.open(page, width=794, media="print", scheme="dark")
    visible = "[...document.querySelectorAll('{}')].filter((each) => each.getClientRects().length).length"
    assert (
        browser.run(visible.format(".controls, .browse, nav, #hover, button:not(.sortable button), select, input")) == 0
    )
    assert browser.run(visible.format(".picks .card")) == 36
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.screen()
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF-")
    assert 5 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 14


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(browser, page, scheme):
    browser.open(page, scheme=scheme)
    assert browser.low_contrast() == {}

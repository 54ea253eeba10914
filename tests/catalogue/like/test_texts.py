"""Texts, identifiers, URLs and numbers made all at once are what they would be one by one, and nobody's."""

import re
import string
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.catalogue.like.fresh import Codes, Links, form, forms_of
from hangtag.catalogue.like.invented import INVENTED, Inventor
from hangtag.catalogue.like.numbers import Numbers
from hangtag.catalogue.like.pieces import Piece, Vocabulary, anew
from hangtag.catalogue.like.texts import Taken, fold_all, ragged, strings
from hangtag.catalogue.like.words import Writer, slug, slugs
from hangtag.catalogue.split import fold

steady = settings(deadline=None, derandomize=True)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("aB 9-.\té\x1c", max_size=12)


@steady
@given(st.lists(any_text))
def test_texts_fold_and_become_slugs_as_they_do_alone(texts):
    assert fold_all(strings(texts)) == [fold(text) for text in texts]
    named = [text for text in texts if fold(text)]
    assert slugs(strings(named)).to_pylist() == [slug(text) for text in named]


@steady
@given(st.lists(st.text("abcdef0123456789-ABCDEFxé ", max_size=12) | st.from_regex(r"[0-9a-f]{8}", fullmatch=True)))
def test_identifiers_have_the_forms_they_have_alone(codes):
    places, forms = forms_of(strings(codes))
    assert [forms[place] for place in places] == [form(code) for code in codes]
    part, forms = forms_of(strings(["first", *codes]).slice(1))
    assert [forms[place] for place in part] == [form(code) for code in codes]


@steady
@given(st.lists(st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=8), max_size=4))
def test_a_text_is_admitted_once(batches):
    taken, seen = Taken(["a"]), {"", "a"}
    for batch in batches:
        admitted = taken.admit(batch)
        for text, new in zip(batch, admitted, strict=True):
            assert new == (text not in seen)
            seen.add(text)


@steady
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=20))
def test_stretches_follow_each_other(stretches):
    starts, lengths = np.array(stretches, np.int64).reshape(-1, 2).T
    assert ragged(starts, lengths).tolist() == [n for start, length in stretches for n in range(start, start + length)]


@steady
@given(st.lists(st.integers(-(10**14), 10**14), min_size=1), st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_numbers_are_written_as_one_by_one(values, decimals, least, signs):
    numbers = Numbers(np.array([0]), decimals, min(least, decimals), "$" if signs else "", " ml" if signs else "")

    def write(value):
        whole, part = divmod(abs(value), 10**decimals)
        part = f"{part:0{decimals}d}" if decimals else ""
        while len(part) > numbers.least_decimals and part.endswith("0"):
            part = part[:-1]
        return f"{numbers.prefix}{'-' * (value < 0)}{whole}{'.' * bool(part)}{part}{numbers.suffix}"

    assert numbers.write(np.array(values)).to_pylist() == [write(value) for value in values]


def test_pieces_stand_or_are_made_anew():
    rng = np.random.default_rng(0)
    inventor = Inventor(["known"], rng)
    pieces = Vocabulary(
        [Piece("kept,"), anew("Wool", "(", ")"), anew("2024"), anew("A4-b"), Piece("", form="xxxx")], inventor, rng
    )
    flat = np.array([0, 1, -1, 0, 2, 3, 4, -2])
    made = pieces.write(np.tile(flat, 300), np.full(600, 4), " ", [strings(["own"] * 600), strings(["code"] * 600)])
    for first, second in zip(made[::2].to_pylist(), made[1::2].to_pylist(), strict=True):
        assert re.fullmatch(r"kept, \([A-Z][a-z]{3,}\) own kept,", first)
        assert re.fullmatch(r"[1-9][0-9]{3} [A-Z][0-9]-[a-z] [0-9a-f]{4} code", second)
    assert len(set(made[::2].to_pylist())) > 100
    words = inventor.words.to_pylist()
    assert words[inventor.first("WOOL")].isupper()
    assert len(words) % (3 * INVENTED) == 0
    assert "known" not in words


def written(texts, count, min_count=3, seed=0):
    rng = np.random.default_rng(seed)
    distinct = list(dict.fromkeys(texts))
    writer = Writer(distinct, strings(distinct), min_count, rng)
    return writer.write([rng.integers(0, len(distinct), count) for _ in range(3)]).to_pylist()


def test_texts_keep_frequent_words_and_invent_the_rare_ones():
    rng = np.random.default_rng(1)
    colours, kinds = ["Red", "Blue", "Green", "Black"], ["Coat", "Boots", "Scarf"]
    texts = [f"{rng.choice(colours)} Zyx{number} {rng.choice(kinds)}, long" for number in range(300)]
    made = written(texts, 2000)
    assert len({fold(text) for text in made} | {fold(text) for text in texts}) == 2300
    assert not any("zyx" in text.lower() for text in made)
    pattern = re.compile(r"(Red|Blue|Green|Black) ([A-Z][a-z]{2}\d+|[A-Z][0-9a-z]+) (Coat|Boots|Scarf), long")
    assert np.mean([bool(pattern.fullmatch(text)) for text in made]) > 0.95
    shares = Counter(text.split()[0] for text in made)
    source = Counter(text.split()[0] for text in texts)
    assert all(abs(shares[each] / 2000 - source[each] / 300) < 0.04 for each in colours)
    assert made == written(texts, 2000)
    assert made != written(texts, 2000, seed=5)


def test_texts_of_frequent_words_alone_are_crossed():
    rng = np.random.default_rng(2)
    words = np.array(["Ash", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Larch", "Maple"])
    texts = [" ".join(rng.permutation(words)[:5]) for _ in range(400)]
    made = written(texts, 500)
    assert len({*made, *texts}) == 500 + len(set(texts))
    assert np.mean([set(text.split()) <= set(words) for text in made]) > 0.6
    for text in made:
        kept = [word for word in text.split() if word in words]
        assert len(set(kept)) == len(kept)


@steady
@given(st.lists(any_text.filter(fold), min_size=1), st.integers(1, 3), st.integers(1, 40))
def test_any_texts_give_new_ones_without_end(texts, min_count, count):
    made = written(texts, count, min_count)
    assert len(made) == count
    folded = [fold(text) for text in made]
    assert all(folded)
    assert len(set(folded)) == count
    assert not set(folded) & {fold(text) for text in texts}


@steady
@given(
    st.lists(st.text("ab12-é", min_size=1, max_size=4), min_size=1, max_size=30, unique=True)
    | st.lists(st.integers(1, 10**17).map(str), min_size=1, unique=True),
    st.integers(1, 60),
)
def test_identifiers_are_new_and_each_given_once(known, count):
    made = Codes(strings(known), 2, np.random.default_rng(0)).draw(
        strings([known[n % len(known)] for n in range(count)])
    )
    assert len(set(made.to_pylist()) | set(known)) == count + len(known)


def test_identifiers_have_the_form_of_those_they_are_like():
    rng = np.random.default_rng(0)
    known = [f"QX{rng.integers(100, 999)}-{''.join(rng.choice(list(string.ascii_lowercase), 3))}" for _ in range(200)]
    known = list(dict.fromkeys(known))
    hexes = [f"{number:012x}" for number in rng.integers(1 << 44, 1 << 47, 100)]
    made = Codes(strings([*known, *hexes]), 5, rng).draw(strings([*known, *hexes])).to_pylist()
    assert all(re.fullmatch(r"QX\d{3}-[a-z]{3}", code) for code in made[: len(known)])
    assert all(re.fullmatch(r"[0-9a-f]{12}", code) for code in made[len(known) :])


def test_urls_show_the_new_title_and_identifier():
    rng = np.random.default_rng(0)
    learned = [
        (f"https://www.real.com/en/p/blue-coat-{n}-x{7000 + n}", f"Blue Coat {n}", str(7000 + n)) for n in range(20)
    ]
    learned += [(f"http://img.real.com/{n:08x}/word{n}.jpg", "", "") for n in range(1 << 20, (1 << 20) + 20)]
    known = strings(url for url, _, _ in learned)
    shapes = np.tile(np.arange(40), 50)
    titles, codes = (strings(f"{text}{n}" for n in range(2000)) for text in ("green-hat-", "9"))
    made = Links(known, learned, 5, rng).write(shapes, titles, codes).to_pylist()
    assert len({*made, *known.to_pylist()}) == 2040
    for number, url in enumerate(made):
        if number % 40 < 20:
            assert url == f"https://shop.example/en/p/green-hat-{number}-x9{number}"
        else:
            assert re.fullmatch(r"https://shop1\.example/[0-9a-f]{8}/[a-z]+\d*\.jpg", url)
    bare = Links(known, learned, 5, rng).write(shapes, *(pa.repeat(pa.scalar("", pa.large_string()), 2000),) * 2)
    assert len(set(bare.to_pylist())) == 2000
    assert not any("blue" in url or "700" in url for url in bare.to_pylist()[:10])


def test_a_url_without_anything_new_gets_an_end():
    learned = [("https://a.com/x", "", "")] * 9
    made = Links(strings(["https://shop.example/x"]), learned, 5, np.random.default_rng(0))
    empty = strings([""] * 5)
    assert all(
        re.fullmatch(r"https://shop\.example/x-[0-9a-f]{10}", url)
        for url in made.write(np.zeros(5, int), empty, empty).to_pylist()
    )


@pytest.mark.parametrize("text", ["2024", "A4-b", "Straße", "x9"])
def test_what_is_made_anew_has_the_kind_of_its_model(text):
    rng = np.random.default_rng(0)
    made = Vocabulary([anew(text)], Inventor((), rng), rng).write(np.zeros(200, int), np.ones(200, int), "").to_pylist()
    if any(sign.isdigit() for sign in text):
        assert {form(each) for each in made} == {form(text)}
    else:
        assert all(each.isalpha() and each[0].isupper() for each in made)

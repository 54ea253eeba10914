"""Whatever an automaton accepts is read back by its template; tokens fit where their bytes do, one by one."""

import json
import random

import numpy as np
import pytest
import torch
from conftest import tiny_processor
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.answer import Template, format_number
from hangtag.prediction.grammar import DEAD, Automaton, Grammar
from hangtag.prediction.pieces import Pieces

TAG = Template("Tag: {title}; {category} for {price} USD", {"title": "text", "category": "category", "price": "number"})
KNOWN = {"category": ["Bags", "Bags, men", "Shoes", "Sh", "Été"]}
LITERALS = st.text(st.sampled_from("ab,. \n:éè\u00a0€-"), min_size=1, max_size=5)
WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=8)


def accepts(automaton, text):
    state = automaton.start
    for byte in text.encode():
        state = automaton.table[state, byte]
        if state == DEAD:
            return False
    return bool(automaton.ends[state])


def walk(automaton, seed, most=300):
    """A text that the automaton accepts, its bytes chosen at random among those that it allows: UTF-8, always."""
    choose, state, text = random.Random(seed), automaton.start, b""
    while len(text) < most:
        steps = np.flatnonzero(automaton.table[state] != DEAD)
        if automaton.ends[state] and (not len(steps) or choose.random() < 0.3):
            return text.decode()
        byte = choose.choice(list(steps))
        state, text = automaton.table[state, byte], text + bytes([byte])
    return None


def test_what_a_template_writes_is_accepted():
    plain, closed = Automaton(TAG, {}), Automaton(TAG, KNOWN)
    for title in ("Red Bag", "A", "à la carte", "1, 2", "for", "Bag,", "Tag: x"):
        for category in KNOWN["category"]:
            text = TAG.write({"title": title, "category": category, "price": 12.5})
            assert accepts(plain, text)
            assert accepts(closed, text)
            assert accepts(closed, f" {text}")
    assert accepts(plain, "Tag: A; Coats for 1 USD")
    assert not accepts(closed, "Tag: A; Coats for 1 USD")


@pytest.mark.parametrize(
    "text",
    ["Tag: ; Bags for 1 USD", "Tag:  A; Bags for 1 USD", "Tag: A; Bags for USD", "Tag: A; Bags for 1.234 USD",
     "Tag: A; Bags for 1,5 USD", "Tag: A; Bags for -.5 USD", "Tag: A; Bags for 1.", "Tag: A\n; Bags for 1 USD",
     "Tag: A; Bags for 1 USDx", "Tag: A; Bags", "Tag: A; Bags for 1234567890123456 USD", "", "tag: A; Bags for 1 USD"],
)  # fmt: skip
def test_what_cannot_be_read_is_not_accepted(text):
    assert not accepts(Automaton(TAG, KNOWN), text)


@given(st.lists(st.tuples(st.sampled_from(["text", "category", "number"]), LITERALS), min_size=1, max_size=3),
       LITERALS | st.just(""), st.booleans(), st.booleans(), st.integers(0, 2**32))  # fmt: skip
@settings(max_examples=150, derandomize=True, deadline=None)
def test_whatever_is_accepted_is_read_back(parts, lead, last_is_bare, hurry, seed):
    """The slow, obvious judge is `Template.read` itself."""
    text = lead + "".join(f"{{f{n}}}{literal}" for n, (_, literal) in enumerate(parts))
    if last_is_bare:
        text = text[: -len(parts[-1][1])]
    if text != text.strip() or any(kind == "number" and set(literal) & set("-.") for kind, literal in parts):
        return
    template = Template(text, {f"f{n}": kind for n, (kind, _) in enumerate(parts)})
    automaton = Automaton(template, {f"f{n}": ["aa", "ab", "x y"] for n in range(2)}, hurry)
    found = walk(automaton, seed)
    if found is not None:
        assert template.read(found) is not None, (text, found)


@pytest.mark.parametrize(
    "letters", [b"\xc3", b"\xa9", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff", b"\xc2\xa0"]
)
def test_text_is_of_whole_letters_that_are_no_other_spaces(letters):
    automaton, state = Automaton(TAG, {}), None
    for before in (b"Tag: ", b"Tag: A"):
        state = automaton.start
        for byte in before + letters + b"; B for 1 USD":
            state = DEAD if state == DEAD else automaton.table[state, byte]
        assert state == DEAD
    assert accepts(automaton, "Tag: é€𝒳; B for 1 USD")


@given(WORDS, WORDS, st.floats(-1e9, 1e9))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_every_row_that_can_be_learned_is_accepted(title, category, price):
    row = {"title": title, "category": category, "price": format_number(price)}
    try:
        values = TAG.clean(row)
    except Exception:
        return
    assert accepts(Automaton(TAG, {"category": [values["category"]]}), TAG.write(values))


def test_a_known_value_that_holds_the_templates_own_words_is_left_out():
    template = Template("{kind}b{price}", {"kind": "category", "price": "number"})
    automaton = Automaton(template, {"kind": ["a", "ab", "b"]})
    assert [accepts(automaton, text) for text in ("ab1", "abb1", "bb1")] == [True, False, True]
    assert template.read("abb1") is None


def test_a_hurried_automaton_has_the_same_states_and_is_at_its_end_soon():
    plain, hurried = Automaton(TAG, KNOWN), Automaton(TAG, KNOWN, hurry=True)
    assert plain.table.shape == hurried.table.shape
    assert np.array_equal(plain.ends, hurried.ends)
    assert np.all((hurried.table == DEAD) | (hurried.table == plain.table) | (plain.table != DEAD))
    for seed in range(20):
        assert len(walk(hurried, seed).encode()) <= len("Tag: x; Bags, men for 1.0 USD") + 3


@pytest.fixture(scope="module")
def grammar():
    pieces = Pieces(tiny_processor().tokenizer)
    size = len(pieces.tokenizer) + 5
    stops = [pieces.tokenizer.convert_tokens_to_ids("<|end|>")]
    return Grammar(pieces, TAG, KNOWN, size, stops, torch.device("cpu")), pieces, size, stops


def test_a_token_may_stand_where_its_bytes_may(grammar):
    found, pieces, size, stops = grammar
    automaton = Automaton(TAG, KNOWN)
    special = {*pieces.tokenizer.all_special_ids, *pieces.tokenizer.added_tokens_decoder}
    states = [found.start]
    for _ in range(12):
        state = states[-1]
        allowed = found.allowed(state)
        for token in range(size):
            behind, letters = state, b"" if token in special else pieces.of(token)
            for byte in letters:
                behind = DEAD if behind == DEAD else automaton.table[behind, byte]
            expected = automaton.ends[state] if token in stops else bool(letters) and behind != DEAD
            assert allowed[token] == expected, (state, token, letters)
            if expected and token not in stops:
                assert found.after(state, token) == behind
        plain = [token for token in torch.nonzero(allowed)[:, 0].tolist() if token not in stops]
        states.append(found.after(state, plain[len(plain) // 2]))
    assert len(set(states)) > 6


def test_categories_with_too_many_letters_are_any_text():
    many = {"category": [f"Category {n}" for n in range(5000)]}
    assert accepts(Automaton(TAG, many), "Tag: A; Anything for 1 USD")


def test_an_answer_ends_where_nothing_else_is_left():
    bare = Automaton(Template("{price}", {"price": "number"}), {})
    assert accepts(bare, "12.50")
    assert json.loads("12.50") == 12.5
    assert not accepts(bare, "12.505")

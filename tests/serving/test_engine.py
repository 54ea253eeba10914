"""The engine by itself: rows that join and leave at any step get the tags that they get alone."""

import numpy as np
import pytest

from hangtag.catalogue.pictures import read_picture
from hangtag.prediction.tag import Ask
from hangtag.serving.engine import Engine, Wanted
from hangtag.serving.heat import heat


class Heard:
    """What an engine tells."""

    def __init__(self):
        self.begun, self.text, self.done, self.failed = {}, {}, {}, {}

    def __call__(self, message):
        what, *rest = message
        if what == "begun":
            self.begun |= dict.fromkeys(rest[0], rest[1])
        elif what == "text":
            self.text[rest[0]] = self.text.get(rest[0], "") + rest[1]
        elif what == "done":
            assert not self.done.keys() & rest[0].keys()
            assert rest[1] >= 0
            self.done |= rest[0]
        else:
            self.failed |= dict.fromkeys(*rest)


@pytest.fixture
def pictures(photos):
    return [read_picture(each) for each in photos[:8]]


def run(engine, heard, joins, leaves=None):
    step = 0
    while engine.busy or any(step <= each for each in joins):
        if step in joins:
            engine.join(joins[step])
        for ticket in (leaves or {}).get(step, ()):
            engine.leave(ticket)
        engine.step()
        step += 1
        assert step < 2000
    return step


def test_whoever_joins_at_any_step_gets_its_own_tag_and_leaves_at_once(tagger, pictures):
    heard = Heard()
    engine = Engine(tagger, heard)
    asks = [Ask([each]) for each in pictures]
    joins = {
        0: [Wanted(0, asks[0], listens=True)],
        3: [Wanted(1, asks[1]), Wanted(2, asks[2], shown=pictures[2])],
        4: [Wanted(3, Ask([pictures[3]], "Why?", held=False, most_tokens=9)), Wanted(4, asks[4])],
        9: [Wanted(5, Ask([pictures[5]], most_tokens=2))],
    }
    run(engine, heard, joins)
    assert heard.begun == {0: 1, 1: 3, 2: 3, 3: 5, 4: 5, 5: 6}
    assert not heard.failed
    assert sorted(heard.done) == [0, 1, 2, 3, 4, 5]
    assert next(iter(heard.done)) == 5, "a short answer waited for longer ones"
    for ticket, each in enumerate([*(joins[0]), *joins[3], *joins[4], *joins[9]]):
        tag, features = heard.done[ticket]
        (alone,) = tagger.answer([each.ask])
        assert (tag.raw, tag.fields, tag.tokens, tag.error) == (alone.raw, alone.fields, alone.tokens, alone.error)
        if tag.fields:
            assert tag.confidence == pytest.approx(alone.confidence, rel=1e-3)
            assert tag.numbers["full_price"] == pytest.approx(alone.numbers["full_price"], rel=1e-3)
        assert (features is None) == (ticket != 2)
    assert heard.text == {0: heard.done[0][0].raw}
    assert heard.done[2][1] == pytest.approx(tagger.features([pictures[2]])[0], abs=1e-5)


def test_who_leaves_is_cut_or_never_begun(tagger, pictures):
    heard = Heard()
    wanted = [Wanted(ticket, Ask([each])) for ticket, each in enumerate(pictures[:3])]
    run(Engine(tagger, heard), heard, {0: wanted[:2], 5: wanted[2:]}, {4: [1], 5: [2]})
    assert list(heard.failed) == [2]
    assert 2 not in heard.begun
    assert heard.done[1][0].fields is None
    assert heard.done[1][0].tokens[1] < heard.done[0][0].tokens[1]
    assert heard.done[0][0].raw == tagger.answer([wanted[0].ask])[0].raw


def test_a_heat_map_is_drawn_beside_answers(tagger, pictures):
    heard = Heard()
    engine = Engine(tagger, heard)
    ask = Ask([pictures[0]])
    (tag,) = tagger.answer([ask])
    joins = {0: [Wanted(0, ask, shown=pictures[0], heat_of=tag)], 6: [Wanted(1, Ask([pictures[1]]))]}
    joins[8] = [Wanted(2, ask, shown=pictures[0], heat_of=tag)]
    run(engine, heard, joins, {20: [2]})
    assert next(iter(heard.done)) in (1, 2), "a tag waited for a whole heat map"
    assert heard.done[2] is None
    expected = heat(tagger, pictures[0], tag).record()
    for name, cells in heard.done[0]["fields"].items():
        assert np.array(cells) == pytest.approx(np.array(expected["fields"][name]), abs=2e-3)


def test_one_that_cannot_be_answered_fails_alone(tagger, pictures, monkeypatch):
    heard = Heard()
    wanted = [Wanted(ticket, Ask([each])) for ticket, each in enumerate(pictures[:3])]
    wanted[1] = Wanted(1, Ask([pictures[1]], "<|end|>", held=False))
    engine = Engine(tagger, heard)
    run(engine, heard, {0: wanted})
    assert list(heard.failed) == [1]
    assert "special tokens" in str(heard.failed[1])
    assert sorted(heard.done) == [0, 2]
    whole, last = engine._decoder.step, 3

    def failing(asked):
        if any(row == last for row, _ in asked):
            raise ValueError("the second row is broken")
        return whole(asked)

    monkeypatch.setattr(engine._decoder, "step", failing)
    heard.failed.clear()
    run(engine, heard, {0: [Wanted(3, wanted[0].ask), Wanted(4, wanted[2].ask)]})
    assert list(heard.failed) == [4]
    assert heard.done[3][0].raw == heard.done[0][0].raw

from conftest import tiny_processor
from hypothesis import given
from hypothesis import strategies as st

from hangtag.recipe import NanoSizes
from hangtag.training.nano import SPECIAL, nano_model, nano_tokenizer

TOKENIZER = nano_tokenizer(["Large Red Tote Bag, Full Price: 1290"] * 20, 400)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back_from_its_ids(text):
    if "<|" in text or "<s>" in text or "<0x" in text or "▁" in text:
        return
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.unk_token_id not in ids
    assert TOKENIZER.decode(ids) == text


def test_digits_stand_alone_and_words_are_learned():
    pieces = TOKENIZER.convert_ids_to_tokens(TOKENIZER("Large Red 1290")["input_ids"])
    assert pieces == ["<s>", "▁Large", "▁Red", "▁", "1", "2", "9", "0"]


def test_special_tokens_are_phi3s_and_swallow_white_space_as_phi3s():
    ids = TOKENIZER("<|end|>\n<|assistant|>\nRed")["input_ids"]
    assert TOKENIZER.convert_ids_to_tokens(ids) == ["<s>", "<|end|>", "▁", "\n", "<|assistant|>", "▁Red"]
    assert all(name in TOKENIZER.get_vocab() for name in SPECIAL)


def test_the_same_seed_gives_the_same_weights_and_stops_at_phi3s_ends():
    processor = tiny_processor()
    sizes = NanoSizes(crop_size=56, vision_hidden=32, vision_layers=1, hidden=64, layers=1)
    one, same, other = (nano_model(processor, sizes, seed).state_dict() for seed in (1, 1, 2))
    assert all((one[name] == same[name]).all() for name in one)
    assert any((one[name] != other[name]).any() for name in one)
    model = nano_model(processor, sizes, 1)
    names = processor.tokenizer.convert_ids_to_tokens(model.generation_config.eos_token_id)
    assert set(names) == {"<|end|>", "<|endoftext|>"}

from pathlib import Path

import pytest
import torch
from conftest import tiny_processor
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hangtag.answer import Template
from hangtag.catalogue.store import open_catalogue
from hangtag.errors import ImageError, TableError
from hangtag.examples.augmentation import Augmentation
from hangtag.examples.chat import Chat
from hangtag.examples.examples import IGNORED, Examples
from hangtag.examples.rows import UsableRow, usable_rows
from hangtag.recipe import Task
from hangtag.recipe.sections import END

TAG = Template("Tag: {title}, {price}", {"title": "text", "price": "number"})
CHAT = Chat.of(Task(prompt="What is it?"))
TOKENIZER = Path(__file__).parents[3] / "shared/reference/tokenizer"
TUTORIAL = "<|user|>\n{pictures}{prompt}<|end|><|assistant|>\n{answer}<|end|>"


@pytest.fixture
def rows(tmp_path):
    made = []
    for index, (title, size) in enumerate([("Red Bag", (80, 80)), ("Long Blue Coat", (60, 120)), ("Hat", (120, 60))]):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", size, (40 * index, 90, 200)).save(path)
        made.append(UsableRow({"title": title, "price": 10.0 * (index + 1)}, (path,)))
    return made


def make(rows, **options):
    return Examples(rows, tiny_processor(num_crops=4), TAG, CHAT, **options)


def test_labels_cover_the_answer_and_its_end_alone(rows):
    examples = make(rows)
    for row, example in zip(rows, examples, strict=True):
        learned = [token for token in example.labels if token != IGNORED]
        assert examples.processor.tokenizer.decode(learned) == TAG.write(row.values) + END
        first = example.labels.index(learned[0])
        assert example.labels == [IGNORED] * first + example.input_ids[first:]


def places(examples, row):
    return [examples.processor.image_processor.num_image_tokens(*examples.sizes[each]) for each in row.pictures]


def test_ids_made_piece_by_piece_equal_the_whole_text_tokenised_at_once(rows):
    examples = make(rows)
    for row, example in zip(rows, examples, strict=True):
        whole = CHAT.prompt(1) + TAG.write(row.values) + END
        assert example.input_ids == examples.processor.prompt_ids(whole, places(examples, row))


def test_several_pictures_and_none_have_their_tags_and_the_same_ids_as_the_whole_text(rows):
    both = UsableRow(rows[0].values, rows[0].pictures + rows[1].pictures)
    none = UsableRow(rows[2].values, ())
    examples = make([both, none])
    assert CHAT.prompt(2) == "<|user|>\n<|image_1|>\n<|image_2|>\nWhat is it?<|end|>\n<|assistant|>\n"
    assert CHAT.prompt(0) == "<|user|>\nWhat is it?<|end|>\n<|assistant|>\n"
    for row, example in zip([both, none], examples, strict=True):
        whole = CHAT.prompt(len(row.pictures)) + TAG.write(row.values) + END
        assert example.input_ids == examples.processor.prompt_ids(whole, places(examples, row))
        assert len(example.sizes) == len(row.pictures)


def published_processor():
    from transformers import PreTrainedTokenizerFast

    from hangtag.phi3v import Phi3VImageProcessor, Phi3VProcessor

    if not TOKENIZER.exists():
        pytest.skip("the published tokenizer is not here")
    return Phi3VProcessor(Phi3VImageProcessor(num_crops=4), PreTrainedTokenizerFast.from_pretrained(TOKENIZER))


@pytest.mark.parametrize("processor_of", [published_processor, lambda: tiny_processor(num_crops=4)])
def test_the_tutorials_string_as_a_template_gives_its_exact_ids(rows, processor_of):
    processor = processor_of()
    chat = Chat.of(Task(chat=TUTORIAL))
    template = Template(Task().answer, Task().fields)
    values = {"title": "Cotton Coat", "category3_code": "coats", "full_price": 1290.0}
    string = (
        "<|user|>\n<|image_1|>What is shown in this image?<|end|><|assistant|>\n"
        "Product: Cotton Coat, Category: coats, Full Price: 1290<|end|>"
    )
    assert chat.prompt(1) + template.write(values) + END == string
    examples = Examples([UsableRow(values, rows[0].pictures)], processor, template, chat)
    picture = Image.open(rows[0].pictures[0])
    expected = processor(text=string, images=[picture], return_tensors="pt")["input_ids"][0].tolist()
    assert examples[0].input_ids == expected


def test_lengths_are_known_before_a_picture_is_decoded_and_are_right(rows):
    examples = make(rows)
    assert examples.lengths() == [len(each.input_ids) for each in examples]
    assert examples.labels() == [sum(label != IGNORED for label in each.labels) for each in examples]
    assert not examples.canvases
    canvases = {each: tuple(examples.canvas(each).shape[:2]) for each in examples.pictures()}
    assert canvases == examples.sizes


def test_pictures_that_cannot_be_read_are_named_together(rows):
    rows[0].pictures[0].write_bytes(b"no picture")
    rows[2].pictures[0].unlink()
    with pytest.raises(ImageError, match=r"2 pictures cannot be used: .*0\.png.*2\.png"):
        make(rows)


def test_pictures_are_decoded_ahead_only_where_all_of_them_fit(rows):
    examples = make(rows)
    examples.read_ahead(2)
    for row in rows:
        row.pictures[0].unlink()
    assert [examples.canvas(each).shape[2] for each in examples.pictures()] == [3, 3, 3]


def test_pictures_beyond_the_memory_allowed_are_left_on_disk(rows):
    examples = make(rows, canvas_bytes=30_000)
    examples.read_ahead(2)
    assert not examples.canvases


def chance(seed=1):
    return torch.Generator().manual_seed(seed)


def test_augmentation_is_decided_by_its_generator_alone_and_keeps_size_and_type(rows):
    examples = make(rows)
    canvas = examples.canvas(rows[0].pictures[0])
    augmentation = Augmentation(flip=True, shift=0.1, zoom=0.1, light=0.2)
    before = torch.random.get_rng_state()
    assert torch.equal(augmentation(canvas, chance()), augmentation(canvas, chance()))
    assert not torch.equal(augmentation(canvas, chance()), augmentation(canvas, chance(2)))
    assert torch.equal(before, torch.random.get_rng_state())
    changed = augmentation(canvas, chance())
    assert (changed.shape, changed.dtype) == (canvas.shape, canvas.dtype)


def test_each_augmentation_does_what_it_says():
    canvas = torch.arange(56 * 56 * 3, dtype=torch.int64).remainder(251).to(torch.uint8).view(56, 56, 3)
    assert torch.equal(Augmentation()(canvas, chance()), canvas)
    seen = {bytes(Augmentation(flip=True)(canvas, chance(seed)).numpy()) for seed in range(20)}
    assert seen == {bytes(canvas.numpy()), bytes(canvas.flip(1).contiguous().numpy())}
    grey = torch.full((56, 56, 3), 100, dtype=torch.uint8)
    assert torch.equal(Augmentation(shift=0.2, zoom=0.2)(grey, chance()), grey)
    lit = Augmentation(light=0.2)(grey, chance()).float()
    assert lit.unique().numel() <= 3
    assert 70 <= lit.min() <= lit.max() <= 130


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=5))
def test_crops_cut_together_equal_crops_cut_one_by_one(tiles):
    image_processor = tiny_processor(num_crops=9).image_processor
    canvases = [torch.randint(0, 256, (56 * h, 56 * w, 3), dtype=torch.uint8) for h, w in tiles]
    one_by_one = torch.cat([image_processor.canvas_to_pixel_values(each) for each in canvases])
    assert torch.equal(image_processor.canvases_to_pixel_values(canvases), one_by_one)


def test_answers_hold_no_bos():
    examples = make([UsableRow({"title": "Hat", "price": 30.0}, ())])
    ids, processor = examples.answers[0], examples.processor
    assert processor.tokenizer.bos_token_id not in ids
    assert ids[-1] == processor.tokenizer.convert_tokens_to_ids(END)


def test_unusable_rows_are_told_with_their_number_and_an_empty_split_is_an_error(small_catalogue):
    catalogue = open_catalogue(small_catalogue)
    template = Template("{title}, {full_price}", {"title": "text", "full_price": "number"})
    first = next(index for index, row in enumerate(catalogue.rows) if row["split"] == "train")
    catalogue.rows[first]["full_price"] = "N.A."
    usable, rejected = usable_rows(catalogue, "train", template)
    assert len(usable) == len(catalogue.split("train")) - 1
    assert rejected[0]["row"] == str(first + 1)
    with pytest.raises(TableError, match="nearest|did you mean 'title'"):
        usable_rows(catalogue, "train", Template("{titel}", {"titel": "text"}))
    for row in catalogue.rows:
        row["title"] = ""
    with pytest.raises(TableError, match="no usable row in its split train"):
        usable_rows(catalogue, "train", template)


def test_a_split_without_rows_gives_no_examples():
    examples = Examples([], tiny_processor(), TAG, CHAT)
    assert len(examples) == 0
    assert examples.lengths() == []


def test_rows_left_out_take_their_pictures_with_them(rows):
    examples = make([*rows, UsableRow(rows[0].values, rows[0].pictures)])
    examples.only([1, 3])
    assert set(examples.sizes) == {*rows[1].pictures, *rows[0].pictures}
    assert examples.lengths() == [len(each.input_ids) for each in examples]

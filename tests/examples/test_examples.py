import pytest
import torch
from conftest import tiny_processor
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hangtag.answer import Template
from hangtag.catalogue.store import open_catalogue
from hangtag.errors import TableError
from hangtag.examples.examples import (
    END,
    IGNORED,
    Augmentation,
    Collator,
    Examples,
    UsableRow,
    answer_tokens,
    chat_prompt,
    usable_rows,
)

TAG = Template("Tag: {title}, {price}", {"title": "text", "price": "number"})


@pytest.fixture
def rows(tmp_path):
    made = []
    for index, (title, size) in enumerate([("Red Bag", (80, 80)), ("Long Blue Coat", (60, 120)), ("Hat", (120, 60))]):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", size, (40 * index, 90, 200)).save(path)
        made.append(UsableRow({"title": title, "price": 10.0 * (index + 1)}, path))
    return made


def make(rows, **options):
    return Examples(rows, tiny_processor(num_crops=4), TAG, "What is it?", **options)


def test_labels_cover_the_answer_and_its_end_alone(rows):
    examples = make(rows)
    for row, example in zip(rows, examples, strict=True):
        learned = [token for token in example.labels if token != IGNORED]
        assert examples.processor.tokenizer.decode(learned) == TAG.write(row.values) + END
        first = example.labels.index(learned[0])
        assert example.labels == [IGNORED] * first + example.input_ids[first:]


def test_ids_made_piece_by_piece_equal_the_whole_text_tokenised_at_once(rows):
    examples = make(rows)
    for row, example in zip(rows, examples, strict=True):
        whole = chat_prompt("What is it?") + TAG.write(row.values) + END
        places = examples.processor.image_processor.num_image_tokens(*example.canvas_HW3.shape[:2])
        assert example.input_ids == examples.processor.prompt_ids(whole, [places])


def test_a_batch_is_what_the_processor_makes_of_the_same_text_and_pictures(rows):
    examples = make(rows)
    batch = Collator(examples.processor.image_processor, examples.processor.tokenizer.pad_token_id)(list(examples))
    texts = [chat_prompt("What is it?") + TAG.write(row.values) + END for row in rows]
    pictures = [[Image.open(row.picture)] for row in rows]
    examples.processor.tokenizer.padding_side = "right"
    expected = examples.processor(text=texts, images=pictures, padding=True, return_tensors="pt")
    for name in ("input_ids", "attention_mask", "image_sizes"):
        assert torch.equal(batch[name], expected[name]), name
    counts = [1 + int(h) // 56 * (int(w) // 56) for h, w in expected["image_sizes"]]
    crops = [slots[:count] for slots, count in zip(expected["pixel_values"], counts, strict=True)]
    assert torch.equal(batch["pixel_values"], torch.cat(crops))


def test_pictures_are_decoded_once_and_kept_while_they_fit(rows):
    examples = make(rows)
    examples.read_ahead(2)
    for row in rows:
        row.picture.unlink()
    assert len(list(examples)) == 3
    few = make(rows, cache_bytes=0)
    few.read_ahead(2)
    assert not few.canvases


def test_augmentation_draws_from_torchs_generator_and_keeps_size_and_type(rows):
    canvas = next(iter(make(rows))).canvas_HW3
    augmentation = Augmentation(flip=True, shift=0.1, zoom=0.1, light=0.2)
    torch.manual_seed(1)
    first, second = augmentation(canvas), augmentation(canvas)
    torch.manual_seed(1)
    assert torch.equal(first, augmentation(canvas))
    assert not torch.equal(first, second)
    assert (first.shape, first.dtype) == (canvas.shape, canvas.dtype)


def test_each_augmentation_does_what_it_says():
    canvas = torch.arange(56 * 56 * 3, dtype=torch.int64).remainder(251).to(torch.uint8).view(56, 56, 3)
    assert torch.equal(Augmentation()(canvas), canvas)
    seen = {bytes(Augmentation(flip=True)(canvas).numpy()) for _ in range(20)}
    assert seen == {bytes(canvas.numpy()), bytes(canvas.flip(1).contiguous().numpy())}
    grey = torch.full((56, 56, 3), 100, dtype=torch.uint8)
    assert torch.equal(Augmentation(shift=0.2, zoom=0.2)(grey), grey)
    lit = Augmentation(light=0.2)(grey).float()
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
    processor = tiny_processor()
    ids = answer_tokens(processor, "Tag: Hat, 30")
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

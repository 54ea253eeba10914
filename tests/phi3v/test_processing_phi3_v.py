"""Prompts and pictures to inputs, against the recorded prompts where the published tokenizer is at hand."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_processor
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoProcessor, AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from hangtag.errors import ImageError, ModelError
from hangtag.phi3v import Phi3VImageProcessor, Phi3VProcessor

from .reference import IMAGE, INDEX, PUBLISHED, picture

SPECIAL = ["<unk>", "<s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>", "<|image|>"]
PLACE = SPECIAL.index("<|image|>")
RECORDED = re.compile(r"(phi3|phi35)\|(.*)\|(\d) images", re.DOTALL)
PROMPTS = {name: case for name, case in INDEX["tokens"].items() if RECORDED.fullmatch(name)}
PICTURES = [picture("rgb_640x480"), picture("rgb_100x700")]


def small_tokenizer() -> PreTrainedTokenizerFast:
    """Words of one letter and Phi-3's special tokens; BOS before every text."""
    words = {word: place for place, word in enumerate([*SPECIAL, *"abcdefgh"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>", pad_token="<s>")


@pytest.fixture(scope="module")
def processor() -> Phi3VProcessor:
    image_processor = Phi3VImageProcessor(num_crops=4, crop_size=112, num_img_tokens=16)
    return Phi3VProcessor(image_processor, small_tokenizer())


@pytest.fixture(scope="module")
def published_tokenizer() -> Any:
    folder = PUBLISHED / "tokenizer"
    if not folder.is_dir():
        pytest.skip("the published tokenizer is not at ../shared/reference/tokenizer")
    return PreTrainedTokenizerFast.from_pretrained(folder)


def expanded(ids: list[Any]) -> list[int]:
    """Recorded ids with every [-k, n] written out as n places."""
    return [token for each in ids for token in ([IMAGE] * each[1] if isinstance(each, list) else [each])]


@pytest.mark.parametrize("name", PROMPTS)
def test_every_recorded_prompt(published_tokenizer: Any, name: str) -> None:
    revision, prompt, count = RECORDED.fullmatch(name).groups()
    pictures, case = int(count), PROMPTS[name]
    image_processor = Phi3VImageProcessor(num_crops={"phi3": 16, "phi35": 4}[revision])
    processor = Phi3VProcessor(image_processor, published_tokenizer)
    repeated = prompt.count("<|image_1|>") > 1
    if "error" in case or repeated or (not pictures and "<|image_1|>" in prompt):
        with pytest.raises(ModelError, match=rf"row 0: \d+ picture tags .* for {pictures} pictures"):
            processor(text=prompt, images=PICTURES[:pictures])
        if "error" in case or repeated:
            return
        inputs = published_tokenizer(prompt, return_tensors="pt")
    else:
        inputs = processor(text=prompt, images=PICTURES[:pictures] or None, return_tensors="pt")
    assert inputs["input_ids"].tolist() == [expanded(case["ids"])]
    assert inputs["attention_mask"].sum() == case["mask_sum"] == case["n"]
    if pictures:
        assert set(inputs) == set(case["keys"])


def test_the_tokenizer_itself_is_as_recorded(published_tokenizer: Any) -> None:
    for text, ids in INDEX["tokens"]["phi35|plain tokenizer"].items():
        assert published_tokenizer(text)["input_ids"] == ids


def test_recorded_batch_without_pictures(published_tokenizer: Any) -> None:
    case = INDEX["tokens"]["phi35|list of two texts, padding=True, no images"]
    inputs = Phi3VProcessor(Phi3VImageProcessor(), published_tokenizer)(text=["a", "b c d"], padding=True)
    assert inputs["input_ids"] == case["ids"]
    assert inputs["attention_mask"] == case["mask"]


def test_recorded_chat(published_tokenizer: Any) -> None:
    processor = Phi3VProcessor(Phi3VImageProcessor(), published_tokenizer)
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "<|image_1|>\nQ"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "Q2"},
    ]
    case = INDEX["tokens"]["phi35|chat_template"]
    assert processor.apply_chat_template(messages, add_generation_prompt=True) == case["gen"]
    assert processor.apply_chat_template(messages) == case["nogen"]
    messages[1]["content"] = [{"type": "image"}, {"type": "text", "text": "Q"}]
    assert processor.apply_chat_template(messages) == case["nogen"]


def test_published_folders_give_processors(tmp_path: Path, published_tokenizer: Any) -> None:
    for revision, crops in (("phi3", 16), ("phi35", 4)):
        folder = tmp_path / revision
        folder.mkdir()
        files = [*(PUBLISHED / "hub" / revision).glob("*.json"), *(PUBLISHED / "tokenizer").glob("*.json")]
        for file in files:
            (folder / file.name).symlink_to(file)
        processor = AutoProcessor.from_pretrained(folder)
        assert isinstance(processor, Phi3VProcessor)
        assert processor.image_processor.num_crops == crops
        assert isinstance(AutoImageProcessor.from_pretrained(folder), Phi3VImageProcessor)
        assert processor.image_token_id == IMAGE
        assert AutoProcessor.from_pretrained(folder, num_crops=1).image_processor.num_crops == 1
        ids = published_tokenizer(" Hello\n<|end|>\nthere")["input_ids"]
        for tokenizer in (processor.tokenizer, AutoTokenizer.from_pretrained(folder)):
            assert tokenizer(" Hello\n<|end|>\nthere")["input_ids"] == ids


def test_places_and_pixels_of_a_mixed_batch(processor: Phi3VProcessor) -> None:
    inputs = processor(
        text=["a <|image_1|> b <|image_2|> c", "d e", "<|image_1|> f"],
        images=[PICTURES, None, [PICTURES[1]]],
        padding=True,
        return_tensors="pt",
    )
    square, tall = 5 * 16 + 1 + 3 * 4, 5 * 16 + 1 + 5 * 4
    assert (inputs["input_ids"] == PLACE).sum(1).tolist() == [square + tall, 0, tall]
    assert inputs["attention_mask"].sum(1).tolist() == [6 + square + tall, 3, 3 + tall]
    assert inputs["image_sizes"].tolist() == [[224, 224], [448, 112], [448, 112]]
    assert torch.equal(inputs["pixel_values"][1], inputs["pixel_values"][2])
    first = inputs["input_ids"][0].tolist()
    assert first[:2] == [1, 8]
    assert first[2 + square : 5 + square] == [1, 9, PLACE]


def test_pictures_follow_the_tags(processor: Phi3VProcessor) -> None:
    swapped = processor(text="<|image_2|> a <|image_1|>", images=PICTURES, return_tensors="pt")
    straight = processor(text="<|image_1|> a <|image_2|>", images=PICTURES[::-1], return_tensors="pt")
    assert all(torch.equal(swapped[name], straight[name]) for name in straight)


def test_a_flat_list_is_dealt_out_by_tags(processor: Phi3VProcessor) -> None:
    text = ["a", "<|image_1|> b", "<|image_1|> c <|image_2|>"]
    pictures = [PICTURES[1], PICTURES[0], PICTURES[1]]
    flat = processor(text=text, images=pictures, padding=True, return_tensors="pt")
    nested = processor(text=text, images=[[], pictures[:1], pictures[1:]], padding=True, return_tensors="pt")
    assert all(torch.equal(flat[name], nested[name]) for name in nested)


def test_prompt_ids_need_no_pictures(processor: Phi3VProcessor) -> None:
    text = "a <|image_2|> b <|image_1|> c"
    inputs = processor(text=text, images=PICTURES)
    counts = [processor.image_processor.num_image_tokens(*each) for each in ((224, 224), (448, 112))]
    assert inputs["input_ids"] == [processor.prompt_ids(text, counts)]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_side(processor: Phi3VProcessor, side: str) -> None:
    inputs = processor(text=["a", "b c d"], padding=True, padding_side=side, return_tensors="pt")
    short = [0, 0, 1, 1] if side == "left" else [1, 1, 0, 0]
    assert inputs["attention_mask"].tolist() == [short, [1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("text", "pictures", "message"),
    [
        ("a", 1, r"row 0: 0 picture tags \(none\) for 1 pictures"),
        ("<|image_1|>", 0, r"row 0: 1 picture tags \(<\|image_1\|>\) for 0 pictures"),
        ("<|image_1|>", 2, "row 0: 1 picture tags .* for 2 pictures"),
        ("<|image_2|>", 1, r"row 0: 1 picture tags \(<\|image_2\|>\) for 1 pictures"),
        ("<|image_0|>", 1, "row 0: 1 picture tags .* for 1 pictures"),
        ("<|image_1|> a <|image_1|>", 1, "row 0: 2 picture tags .* for 1 pictures"),
        ("<|image_1|> a <|image_1|>", 2, "row 0: 2 picture tags .* for 2 pictures"),
        (["a", "<|image_1|>"], 2, "row 1: 1 picture tags .* for 2 pictures"),
        (["<|image_1|>", "<|image_1|>"], 1, "row 1: 1 picture tags .* for 0 pictures"),
        ("a <|image|> <|image_1|>", 1, "row 0: the text holds"),
    ],
)
def test_tags_that_do_not_fit_are_refused(
    processor: Phi3VProcessor, text: str | list[str], pictures: int, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        processor(text=text, images=[PICTURES[0]] * pictures)


def test_a_tag_of_thousands_of_digits_is_refused(processor: Phi3VProcessor) -> None:
    with pytest.raises(ModelError, match="row 0: 1 picture tags .* for 1 pictures"):
        processor(text=f"<|image_{'9' * 5000}|>", images=PICTURES[:1])


def test_text_and_pictures_by_place_in_either_order(processor: Phi3VProcessor) -> None:
    expected = processor(text="<|image_1|> a", images=PICTURES[:1], return_tensors="pt")
    for positional, named in (
        (("<|image_1|> a", PICTURES[:1]), {}),
        ((PICTURES[:1], "<|image_1|> a"), {}),
        (("<|image_1|> a",), {"images": PICTURES[0]}),
        ((PICTURES[0],), {"text": "<|image_1|> a"}),
    ):
        inputs = processor(*positional, **named, return_tensors="pt")
        assert all(torch.equal(inputs[name], value) for name, value in expected.items())
    assert processor("a b")["input_ids"] == processor(text="a b")["input_ids"]
    assert len(processor(["a b", "c"])["input_ids"]) == 2
    for positional, named in ((("a", "b"), {"text": "c"}), (("a", PICTURES), {"images": PICTURES})):
        with pytest.raises(ModelError, match="given twice"):
            processor(*positional, **named)


def test_an_answer_that_follows_its_prompt_has_no_bos(processor: Phi3VProcessor) -> None:
    """TRL makes prompt and answer apart, without special tokens; together they must be the whole."""
    prompt, answer = "<|user|> <|image_1|> a <|end|> <|assistant|>", " b c <|end|>"
    whole = processor(text=prompt + answer, images=PICTURES[:1])["input_ids"][0]
    apart = [
        processor(text=[prompt], images=[PICTURES[:1]], add_special_tokens=False)["input_ids"][0],
        processor(text=[answer], add_special_tokens=False)["input_ids"][0],
    ]
    assert apart[0] + apart[1] == whole
    alone = processor(text="<|user|> a <|end|>")["input_ids"]
    assert processor(text="<|user|> a <|end|>", add_special_tokens=False)["input_ids"] == alone
    assert alone[0][0] == 1


def test_other_calls_are_refused(processor: Phi3VProcessor) -> None:
    with pytest.raises(ModelError, match="2 prompts but 3 lists"):
        processor(text=["a", "b"], images=[[], [], []])
    with pytest.raises(ModelError, match="pass text="):
        processor(images=PICTURES)
    with pytest.raises(ModelError, match=r"row 1: 4 tokens, more than max_length 3"):
        processor(text=["a", "b c d"], truncation=True, max_length=3)
    with pytest.raises(ImageError, match="row 0, picture 1: photo.jpg is no picture file"):
        processor(text="<|image_1|>", images="photo.jpg")
    flat = Image.new("RGB", (6000, 1))
    with pytest.raises(ImageError, match=r"row 0, picture 2: a picture of 6000x1 .*; row 2, picture 1: NoneType"):
        processor(text=["<|image_2|> <|image_1|>", "a", "<|image_1|>"], images=[[PICTURES[0], flat], [], [None]])
    with pytest.raises(ModelError, match="LlamaTokenizer"):
        Phi3VProcessor(Phi3VImageProcessor(), LlamaTokenizer())
    without = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(ModelError, match=r"no token <\|image\|>"):
        Phi3VProcessor(Phi3VImageProcessor(), without)


def test_saves_and_loads(processor: Phi3VProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(again, Phi3VProcessor)
    assert again.image_processor.to_dict() == processor.image_processor.to_dict()
    assert again.chat_template == processor.chat_template
    call = {"text": "a <|image_1|> b", "images": PICTURES[0], "return_tensors": "pt"}
    assert all(torch.equal(again(**call)[name], value) for name, value in processor(**call).items())


def saved(processor: Phi3VProcessor, folder: Path) -> dict[str, Any]:
    processor.save_pretrained(folder)
    return {file.name: json.loads(file.read_text()) for file in folder.glob("*.json")}


def test_the_published_layout_is_saved(tmp_path: Path, published_tokenizer: Any) -> None:
    """Every field of the published files with its value, and what older releases of transformers must find."""
    files = saved(Phi3VProcessor(Phi3VImageProcessor(num_crops=4), published_tokenizer), tmp_path)
    for name in ("preprocessor_config.json", "processor_config.json"):
        published = json.loads((PUBLISHED / "hub" / "phi35" / name).read_text())
        code = {auto: f"microsoft/Phi-3.5-vision-instruct--{place}" for auto, place in published["auto_map"].items()}
        assert {**files[name], **published, "auto_map": code} == files[name]
    assert set(files["processor_config.json"]) == {"auto_map", "processor_class"}
    merges = json.loads((PUBLISHED / "tokenizer" / "tokenizer.json").read_text())["model"]["merges"]
    assert files["tokenizer.json"]["model"]["merges"] == merges
    settings = files["tokenizer_config.json"]
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert settings["additional_special_tokens"][0] == "<|system|>"
    assert settings["chat_template"] == (tmp_path / "chat_template.jinja").read_text()
    assert {"auto_map", "extra_special_tokens", "backend", "is_local"}.isdisjoint(settings)
    again = AutoProcessor.from_pretrained(tmp_path)
    for text, ids in INDEX["tokens"]["phi35|plain tokenizer"].items():
        assert again.tokenizer(text)["input_ids"] == ids


def test_merges_are_saved_in_the_form_of_old(tmp_path: Path) -> None:
    processor = tiny_processor()
    files = saved(processor, tmp_path)
    merges = files["tokenizer.json"]["model"]["merges"]
    assert merges
    assert all(isinstance(merge, str) and len(merge.split(" ")) == 2 for merge in merges)
    assert "auto_map" not in files["preprocessor_config.json"]  # the published code knows crops of 336 pixels alone
    text = "Tag: Long Blue Coat, 20"
    assert AutoProcessor.from_pretrained(tmp_path).tokenizer(text) == processor.tokenizer(text)


def test_chat_with_pictures_becomes_inputs(processor: Phi3VProcessor) -> None:
    messages = [{"role": "user", "content": [{"type": "image", "image": PICTURES[0]}, {"type": "text", "text": "a b"}]}]
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    expected = processor(
        text="<|user|>\n<|image_1|>\na b<|end|>\n<|assistant|>\n", images=PICTURES[:1], return_tensors="pt"
    )
    assert all(torch.equal(inputs[name], value) for name, value in expected.items())
    assert processor.batch_decode(inputs["input_ids"], skip_special_tokens=True) == ["a b"]

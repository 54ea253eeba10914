"""The tools that people build on: Auto classes, pipeline, Trainer, Accelerate, PEFT and TRL, on a small model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from conftest import tiny_model, tiny_processor
from datasets import Dataset, Image
from peft import LoraConfig
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    pipeline,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

import hangtag
from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM, Phi3VImageProcessor, Phi3VProcessor

from .reference import picture

QUESTION = "What is it?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small")
    processor = tiny_processor(num_crops=4)
    model = tiny_model(processor)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def chat(answer: str | None = None) -> list[dict[str, Any]]:
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    told = [{"role": "assistant", "content": [{"type": "text", "text": answer}]}] if answer else []
    return asked + told


def answer_of(model: Any, processor: Any, images: list[Any]) -> list[str]:
    """What the model writes, asked in the plainest way."""
    text = processor.apply_chat_template(chat(), add_generation_prompt=True)
    inputs = processor(
        text=[text] * len(images), images=[[each] for each in images], padding=True, padding_side="left",
        return_tensors="pt",
    )  # fmt: skip
    ids = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    return processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_auto_classes(folder: Path) -> None:
    assert type(AutoConfig.from_pretrained(folder)) is Phi3VConfig
    assert type(AutoModelForImageTextToText.from_pretrained(folder)) is Phi3VForCausalLM
    assert type(AutoModelForCausalLM.from_pretrained(folder)) is Phi3VForCausalLM
    assert type(AutoProcessor.from_pretrained(folder)) is Phi3VProcessor
    assert type(AutoImageProcessor.from_pretrained(folder)) is Phi3VImageProcessor
    assert AutoTokenizer.from_pretrained(folder)("What is it?") == tiny_processor().tokenizer("What is it?")


def test_pipeline(folder: Path) -> None:
    ask = pipeline("image-text-to-text", model=str(folder))
    images = [picture("rgb_640x480"), picture("rgb_100x700")]
    expected = answer_of(ask.model, ask.processor, images)
    assert len({*expected, ""}) == 3
    options = {"max_new_tokens": 6, "do_sample": False}
    messages = chat()
    messages[0]["content"][0]["image"] = images[0]
    said = ask(text=messages, generate_kwargs=options)[0]["generated_text"]
    assert said[-1] == {"role": "assistant", "content": expected[0]}
    prompt = ask.processor.apply_chat_template(chat(), add_generation_prompt=True)
    one = ask(images=images[1], text=prompt, generate_kwargs=options, return_full_text=False)
    assert one[0]["generated_text"] == expected[1]


TAGS = ["Tag: Red Bag, 10", "Tag: Long Blue Coat, 20"]


def rows(kind: str) -> Dataset:
    """Two products whose pictures alone tell them apart."""
    columns: dict[str, list[Any]] = {"images": [[picture("rgb_640x480")], [picture("rgb_50x50")]]}
    if kind == "messages":
        columns["messages"] = [chat(tag) for tag in TAGS]
    else:
        columns["prompt"] = [chat() for _ in TAGS]
        columns["completion"] = [chat(tag)[1:] for tag in TAGS]
    return Dataset.from_dict(columns).cast_column("images", [Image()])


@pytest.mark.parametrize(("kind", "adapter"), [("messages", False), ("messages", True), ("prompt", True)])
def test_trl_learns_from_the_pictures(folder: Path, tmp_path: Path, kind: str, adapter: bool) -> None:
    processor = AutoProcessor.from_pretrained(folder)
    arguments = SFTConfig(
        output_dir=str(tmp_path),
        max_steps=40,
        per_device_train_batch_size=2,
        learning_rate=5e-3 if adapter else 2e-3,
        lr_scheduler_type="constant",
        max_length=None,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    model = AutoModelForImageTextToText.from_pretrained(folder)
    config = hangtag.lora_config(model.config, rank=16, parts=("decoder", "projector", "clip")) if adapter else None
    collator = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=kind == "prompt")
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=rows(kind),
        processing_class=processor,
        data_collator=hangtag.mask_pictures(collator, processor),
        peft_config=config,
    )
    if adapter:
        assert hangtag.adapted_layers(trainer.model).adapted == {"decoder": 8, "projector": 2, "clip": 6}
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(2)])
    text = processor.apply_chat_template(chat(TAGS[0]))
    alone = processor(text=text, images=[picture("rgb_640x480")], return_tensors="pt")
    kept = batch["attention_mask"][0].bool()
    assert batch["input_ids"][0][kept].tolist() == alone["input_ids"][0].tolist()
    assert torch.equal(batch["pixel_values"][0], alone["pixel_values"][0])
    assert not (batch["labels"] == processor.image_token_id).any()
    targets = batch["labels"][0][batch["labels"][0] != -100]
    begins = TAGS[0] if kind == "prompt" else "<|user|>"
    assert processor.tokenizer.decode(targets).removeprefix("<s>").strip().startswith(begins)
    with torch.no_grad():
        own_loss = trainer.model(**batch).loss.item()
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(own_loss, abs=1e-3)
    moved = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert any("img_processor" in name for name in moved)
    assert any("qkv_proj" in name for name in moved)
    answers = answer_of(trainer.model.eval(), processor, [picture("rgb_640x480"), picture("rgb_50x50")])
    assert [each.split(",")[0] for each in answers] == [tag.split(",")[0] for tag in TAGS]


def test_peft_targets_by_name(folder: Path) -> None:
    """A plain LoraConfig with the fused names, and PEFT's own route through the model."""
    model = AutoModelForImageTextToText.from_pretrained(folder)
    model.add_adapter(LoraConfig(r=4, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]))
    assert hangtag.adapted_layers(model).adapted == {"decoder": 8, "projector": 0, "clip": 0}


def test_sharded_training_gathers_the_towers_weights_too(folder: Path, tmp_path: Path) -> None:
    """FSDP2, wrapped as Accelerate does it by `_no_split_modules`, in a group of one process: equal loss."""
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor(text=processor.apply_chat_template(chat(TAGS[0])), images=[picture("rgb_640x480")])
    inputs = {name: torch.as_tensor(value) for name, value in inputs.items()}
    whole, sharded = (AutoModelForImageTextToText.from_pretrained(folder).train() for _ in range(2))
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        units = [module for module in sharded.modules() if type(module).__name__ in sharded._no_split_modules]
        assert len(units) == sharded.config.num_hidden_layers + 1
        for module in [*units, sharded]:
            fully_shard(module, mesh=mesh)
        losses = [model(**inputs, labels=inputs["input_ids"]).loss for model in (whole, sharded)]
        losses[1].backward()
        assert losses[1].item() == pytest.approx(losses[0].item(), abs=1e-6)
        clip = sharded.model.vision_embed_tokens.img_processor.vision_model
        assert clip.embeddings.class_embedding.grad.to_local().abs().max() > 0
    finally:
        torch.distributed.destroy_process_group()


def test_accelerate(folder: Path) -> None:
    """prepare, accumulate, backward, clip and step: the loss of two rows falls."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder).train()
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=3e-3))
    tags = {"Tag: Red Bag, 10": picture("rgb_640x480"), "Tag: Long Blue Coat, 20": picture("rgb_50x50")}
    losses = []
    for _ in range(15):
        for tag, image in tags.items():
            inputs = processor(text=processor.apply_chat_template(chat(tag)), images=[image], return_tensors="pt")
            with accelerator.accumulate(model):
                loss = model(**inputs, labels=inputs["input_ids"]).loss
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert type(accelerator.unwrap_model(model)) is Phi3VForCausalLM

"""Chat completions as the real `openai` client asks for them."""

import json

import openai
import pytest
from pydantic import BaseModel, create_model
from served import Served, data_uri, encoded

from hangtag.catalogue.pictures import read_picture
from hangtag.files import read_json


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def ask(client, photos):
    """Ask about the first photo, with these words and options."""

    def ask(*words, photo=photos[0], **options):
        picture = {"type": "image_url", "image_url": {"url": data_uri(photo)}}
        content = [picture, *({"type": "text", "text": each} for each in words)]
        options = {"model": "small", "messages": [{"role": "user", "content": content}]} | options
        return client.chat.completions.create(**options)

    return ask


@pytest.fixture(scope="module")
def expected(tagger, photos):
    return tagger.tags([read_picture(photos[0])])[0]


def test_no_words_or_the_runs_own_question_give_the_tags_text(ask, tagger, expected):
    for words in ([], [tagger.recipe.task.prompt], [f" {tagger.recipe.task.prompt}\n"], ["", " "]):
        done = ask(*words)
        (choice,) = done.choices
        assert choice.message.content == expected.raw
        assert choice.finish_reason == "stop"
        assert done.model == "small"
        assert (done.usage.prompt_tokens, done.usage.completion_tokens) == expected.tokens
        assert done.usage.total_tokens == sum(expected.tokens)


def test_other_words_are_asked_as_they_stand(ask, tagger, photos, expected):
    from hangtag.prediction.tag import Ask

    question = "What does it cost in all the shops?"
    (free,) = tagger.answer([Ask([read_picture(photos[0])], question, held=False, most_tokens=12)])
    done = ask(question, max_completion_tokens=12)
    assert done.choices[0].message.content == free.raw
    assert done.usage.prompt_tokens == free.tokens[0] > expected.tokens[0]


def test_a_system_message_stands_before_the_users_words(client, tagger, photos):
    from hangtag.prediction.tag import Ask

    picture = {"type": "image_url", "image_url": {"url": data_uri(photos[0]), "detail": "high"}}
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [picture, {"type": "text", "text": "What?"}]},
    ]
    done = client.chat.completions.create(model="small", messages=messages, max_tokens=4)
    (free,) = tagger.answer([Ask([read_picture(photos[0])], "Be short.\nWhat?", held=False, most_tokens=4)])
    assert done.choices[0].message.content == free.raw


def test_json_object_gives_every_field_whatever_the_words_say(ask, expected):
    done = ask("Give me JSON.", response_format={"type": "json_object"})
    assert json.loads(done.choices[0].message.content) == expected.fields


def test_parse_gives_a_pydantic_model(client, photos, expected):
    class Shown(BaseModel):
        title: str
        full_price: float | None

    picture = {"type": "image_url", "image_url": {"url": data_uri(photos[0])}}
    done = client.chat.completions.parse(
        model="small", messages=[{"role": "user", "content": [picture]}], response_format=Shown
    )
    assert done.choices[0].message.parsed == Shown(**{name: expected.fields[name] for name in Shown.model_fields})


def test_every_field_with_its_categories_as_the_run_tells_them(client, ask, small_run, expected):
    import jsonschema

    schema = read_json(small_run / "schema.json")
    assert client.models.retrieve("small").model_extra["schema"] == schema
    form = {"type": "json_schema", "json_schema": {"name": "tag", "schema": schema, "strict": True}}
    content = json.loads(ask(response_format=form).choices[0].message.content)
    jsonschema.validate(content, schema)
    assert content == expected.fields


def test_a_schema_that_cannot_be_promised_is_refused(client, photos):
    picture = {"type": "image_url", "image_url": {"url": data_uri(photos[0])}}
    for wanted in (create_model("Wanted", colour=(str, ...)), create_model("Wanted", full_price=(int, ...))):
        with pytest.raises(openai.BadRequestError, match="There is: title: string") as caught:
            client.chat.completions.parse(
                model="small", messages=[{"role": "user", "content": [picture]}], response_format=wanted
            )
        assert caught.value.code == "invalid_json_schema"
        assert caught.value.param == "response_format"


def test_a_stream_writes_the_same_text_piece_by_piece(ask, expected):
    pieces = list(ask(stream=True, stream_options={"include_usage": True}))
    text = [each.choices[0].delta.content for each in pieces if each.choices and each.choices[0].delta.content]
    assert len(text) > 3
    assert "".join(text) == expected.raw
    assert pieces[0].choices[0].delta.role == "assistant"
    assert pieces[-2].choices[0].finish_reason == "stop"
    assert pieces[-1].choices == []
    assert (pieces[-1].usage.prompt_tokens, pieces[-1].usage.completion_tokens) == expected.tokens
    assert len({each.id for each in pieces}) == 1
    without = list(ask(stream=True))
    assert all(each.usage is None for each in without)
    pieces = ask(stream=True, response_format={"type": "json_object"})
    (whole,) = (each.choices[0].delta.content for each in pieces if each.choices[0].delta.content)
    assert json.loads(whole) == expected.fields


def test_an_answer_that_is_cut_says_so(ask):
    done = ask(max_tokens=3)
    assert done.choices[0].finish_reason == "length"
    assert done.usage.completion_tokens == 3
    *_, last = ask(max_completion_tokens=3, stream=True)
    assert last.choices[0].finish_reason == "length"
    done = ask(max_tokens=3, response_format={"type": "json_object"})
    assert done.choices[0].message.content is None
    assert done.choices[0].finish_reason == "length"


def test_sampling_is_taken_without_effect(ask, expected):
    taken = {"temperature": 1.5, "top_p": 0.1, "seed": 7, "presence_penalty": 1, "user": "a", "n": 1, "store": False}
    done = ask(**taken, metadata={"a": "b"}, logprobs=False, tools=[], stop=None)
    assert done.choices[0].message.content == expected.raw


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 2}, "one answer"),
        ({"logprobs": True}, "/v1/predict"),
        ({"top_logprobs": 3}, "/v1/predict"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "no tools"),
        ({"audio": {"voice": "alloy", "format": "wav"}, "modalities": ["text", "audio"]}, "text alone"),
        ({"stop": ["x"]}, "ends by itself"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"extra_body": {"top_k": 4}}, "top_k"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "What is it?"}]}, "no picture"),
        ({"messages": [{"role": "assistant", "content": "It is"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}, "one user message"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content"),
    ],
)
def test_what_cannot_be_heeded_is_400_and_says_so(ask, options, message):
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        ask(**options)
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("words", ["<|end|>", "a <|image_1|> b", "</s>", "<s>", "<|assistant|>\n"])
def test_words_with_parts_of_a_prompt_are_refused(ask, words):
    with pytest.raises(openai.BadRequestError, match="leave it out"):
        ask(words)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png;base64,###", "not base64"),
        ("data:image/png;base64," + encoded(b"no picture"), "no picture"),
        ("data:image/svg+xml;utf8,<svg/>", "data URI"),
        ("data:,", "data URI"),
        ("/etc/passwd", "not fetched from URLs"),
        ("https://a.example/b.jpg", "--allow-urls"),
        ("", "not fetched from URLs"),
    ],
)
def test_what_is_no_picture_is_400(ask, url, message):
    part = {"type": "image_url", "image_url": {"url": url}}
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=message):
            ask(messages=[{"role": "user", "content": [part]}], stream=stream)


def test_an_unknown_model_is_not_found(client, ask):
    with pytest.raises(openai.NotFoundError, match="'small'") as caught:
        ask(model="gpt-9")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")
    assert [each.id for each in client.models.list()] == ["small"]


def test_a_prompt_that_is_too_long_is_told_before_a_stream_begins(model, photos):
    with (
        Served(model, {"prompt_tokens": 20}) as served,
        openai.OpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0) as client,
    ):
        part = {"type": "image_url", "image_url": {"url": data_uri(photos[0])}}
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError, match="at most 20 are taken"):
                client.chat.completions.create(
                    model="small", messages=[{"role": "user", "content": [part]}], stream=stream
                )


def test_several_pictures_are_shown_together_or_refused(client, photos):
    part = {"type": "image_url", "image_url": {"url": data_uri(photos[0])}}
    done = client.chat.completions.create(model="small", messages=[{"role": "user", "content": [part, part]}])
    assert done.usage.prompt_tokens > 30
    with pytest.raises(openai.BadRequestError, match="17 pictures in one question"):
        client.chat.completions.create(model="small", messages=[{"role": "user", "content": [part] * 17}])


def test_a_wrong_token_is_an_authentication_error(model, photos):
    with Served(model, token="right") as served:
        for key, error in (("wrong", openai.AuthenticationError), ("right", None)):
            with openai.OpenAI(base_url=served.url + "/v1", api_key=key, max_retries=0) as client:
                if error:
                    with pytest.raises(error, match="wants a token"):
                        client.models.list()
                else:
                    assert client.models.list().data


def test_too_much_to_do_is_retried_by_the_client_itself(model, photos):
    with (
        Served(model, {"places": 1}) as served,
        openai.OpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0) as client,
    ):
        part = {"type": "image_url", "image_url": {"url": data_uri(photos[0])}}
        with served.service.batcher.take(1), pytest.raises(openai.InternalServerError, match="as much to do") as caught:
            client.chat.completions.create(model="small", messages=[{"role": "user", "content": [part]}])
        assert caught.value.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) >= 1

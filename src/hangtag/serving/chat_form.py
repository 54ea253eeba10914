"""OpenAI's chat completions as they come: which keys there are, and which of them this server can heed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(_Strict):
    """Words."""

    type: Literal["text"]
    text: str


class ImageUrl(_Strict):
    """A picture: a data URI, or an http(s) URL where the server was started with --allow-urls."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(_Strict):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]
Content = Annotated[
    Annotated[str, Tag("words")] | Annotated[list[Part], Tag("parts")],
    Discriminator(lambda content: "parts" if isinstance(content, list) else "words"),
]


class Message(_Strict):
    """A message. There is one turn: pictures and words come from the user, and what the system says stands before."""

    role: Literal["system", "developer", "user"]
    content: Content
    name: str | None = None


class JsonSchema(_Strict):
    """A schema among what the run can give (see /v1/models)."""

    name: str
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class SchemaFormat(_Strict):
    """The fields, cut to a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class PlainFormat(_Strict):
    """The tag's text, or all its fields as JSON."""

    type: Literal["text", "json_object"]


class StreamOptions(_Strict):
    """Whether the last piece of a stream tells the tokens."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(_Strict):
    """The keys that are heeded, and those that are taken without effect: the answer is the likeliest, always."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    response_format: Annotated[SchemaFormat | PlainFormat | None, Field(discriminator="type")] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    temperature: Annotated[float | None, Field(ge=0, le=2, description="Without effect.")] = None
    top_p: Annotated[float | None, Field(ge=0, le=1, description="Without effect.")] = None
    seed: Annotated[int | None, Field(description="Without effect: the answer is the same for any.")] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2, description="Without effect.")] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2, description="Without effect.")] = None
    reasoning_effort: Annotated[str | None, Field(description="Without effect.")] = None
    verbosity: Annotated[str | None, Field(description="Without effect.")] = None
    user: Annotated[str | None, Field(description="Without effect.")] = None
    safety_identifier: Annotated[str | None, Field(description="Without effect.")] = None
    prompt_cache_key: Annotated[str | None, Field(description="Without effect.")] = None
    service_tier: Annotated[str | None, Field(description="Without effect.")] = None
    metadata: Annotated[dict[str, str] | None, Field(description="Without effect: nothing is kept.")] = None
    store: Annotated[Literal[False] | None, Field(description="Nothing is kept.")] = None

    n: Annotated[Literal[1] | None, Field(description="There is one answer.")] = None
    logprobs: Annotated[Literal[False] | None, Field(description="See the confidence of /v1/predict.")] = None
    top_logprobs: Annotated[Literal[0] | None, Field(description="See the confidence of /v1/predict.")] = None
    stop: Annotated[None, Field(description="The answer ends by itself.")] = None
    logit_bias: Annotated[dict[str, float] | None, Field(max_length=0, description="Not heeded.")] = None
    tools: Annotated[list[Any] | None, Field(max_length=0, description="There are no tools.")] = None
    tool_choice: Annotated[Literal["none", "auto"] | None, Field(description="There are no tools.")] = None
    parallel_tool_calls: Annotated[bool | None, Field(description="There are no tools.")] = None
    modalities: Annotated[list[Literal["text"]] | None, Field(description="Text alone.")] = None
    audio: Annotated[None, Field(description="There is no audio.")] = None

    @property
    def most_tokens(self) -> int | None:
        """The lower of both limits."""
        told = [each for each in (self.max_tokens, self.max_completion_tokens) if each is not None]
        return min(told) if told else None


UNABLE = {
    "n": "there is one answer to a picture, the likeliest; leave n out, or send 1",
    "logprobs": "there are no logprobs; /v1/predict tells each field's confidence",
    "top_logprobs": "there are no logprobs; /v1/predict tells each field's confidence",
    "stop": "stop is not heeded: an answer ends by itself, or by max_completion_tokens",
    "logit_bias": "logit_bias is not heeded: answers are held to the run's own form",
    "tools": "there are no tools: the model writes a tag and nothing else",
    "tool_choice": "there are no tools: the model writes a tag and nothing else",
    "functions": "there are no functions: the model writes a tag and nothing else",
    "function_call": "there are no functions: the model writes a tag and nothing else",
    "modalities": "the answer is text alone",
    "audio": "the answer is text alone",
    "store": "nothing is kept here; leave store out",
}
"""What is refused, and in whose words."""

import tomllib

import pytest

from hangtag.errors import RecipeError
from hangtag.recipe import Recipe, check_recipe, load_recipe, shipped_recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_right(name):
    assert isinstance(load_recipe(name), Recipe)


def test_a_recipe_written_out_reads_back_the_same_with_every_default():
    recipe = load_recipe("demo", ["train.epochs=7", "data.path=some where", 'task.prompt=What "is" it?'])
    values = tomllib.loads(recipe.dump())
    assert check_recipe(values) == recipe
    assert values["train"]["epochs"] == 7
    assert values["data"]["path"] == "some where"
    assert set(values["train"]) == set(type(recipe.train).model_fields)


def test_all_problems_come_in_one_message_with_the_nearest_names():
    settings = ["trian.epochs=3", "train.epoch=2", "train.batch_size=lots", "model.nano.hiden=3", "nonsense"]
    with pytest.raises(RecipeError) as caught:
        load_recipe("demo", settings)
    message = str(caught.value)
    for says in (
        "unknown key trian; did you mean 'train'?",
        "unknown key train.epoch; did you mean 'epochs'?",
        "train.batch_size = 'lots': input should be a valid integer",
        "unknown key model.nano.hiden; did you mean 'hidden'?",
        "'nonsense' is not section.key=value",
    ):
        assert says in message


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("task.answer=Tag: {titel}", "did you mean 'title'"),
        ("task.fields.title=words", "'text', 'category' or 'number'"),
        ("task.prompt=What<|end|>", "special tokens"),
        ("train.method=prefix", "train.method = 'prefix'"),
        ("train.epochs=0", "greater than 0"),
        ("model.nano.head_size=24", "is no multiple of head_size 24"),
        ("train.seed=-1", "greater than or equal to 0"),
        ("data=3", "data = 3"),
        ("data.path.deep=3", "data.path"),
    ],
)
def test_a_wrong_value_is_named(setting, says):
    with pytest.raises(RecipeError) as caught:
        load_recipe("demo", [setting])
    assert says in str(caught.value)


def test_a_recipe_that_is_not_there_or_no_toml_says_so(tmp_path):
    with pytest.raises(RecipeError, match="recipes that come with hangtag: burberry, demo"):
        load_recipe(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("[model\n")
    with pytest.raises(RecipeError, match="is not TOML"):
        load_recipe(tmp_path / "bad.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="UTF-8"):
        load_recipe(tmp_path / "bytes.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(RecipeError, match="data is missing"):
        load_recipe(tmp_path / "empty.toml")

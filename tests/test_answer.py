import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtag.answer import Template, format_number, known_categories, parse_number
from hangtag.errors import RecipeError, ValueUnreadable

TAG = Template(
    "Product: {title}, Category: {category}, Full Price: {price}",
    {"title": "text", "category": "category", "price": "number"},
)
ROW = {"title": " Large  Tote\nBag ", "category": "BAGS", "price": "2490.00", "other": "x"}


def test_a_row_is_written_and_read_back():
    values = TAG.clean(ROW)
    assert values == {"title": "Large Tote Bag", "category": "BAGS", "price": 2490.0}
    assert TAG.write(values) == "Product: Large Tote Bag, Category: BAGS, Full Price: 2490"
    assert TAG.read(TAG.write(values)) == values


@given(st.text(max_size=30), st.text(max_size=20), st.floats(-1e6, 1e6))
def test_whatever_clean_lets_through_reads_back_the_same(title, category, price):
    try:
        values = TAG.clean({"title": title, "category": category, "price": format_number(price)})
    except ValueUnreadable:
        return
    assert TAG.read(TAG.write(values)) == values


@given(st.text(max_size=200))
def test_any_text_is_read_or_unreadable_and_never_an_exception(text):
    for each in (text, f"Product: {text}", TAG.write({"title": "a", "category": text, "price": 1.0})):
        assert TAG.read(each) is None or set(TAG.read(each)) == {"title", "category", "price"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Product: A, Category: B, Full Price: ",
        "Product: A, Category: B, Full Price: cheap",
        "Product: A, Category: B",
        "Product: , Category: B, Full Price: 1",
        "A tote for 20",
        "Product: A, Category: B, Full Price: 1e999",
    ],
)
def test_an_answer_of_another_form_is_unreadable(text):
    assert TAG.read(text) is None


@pytest.mark.parametrize(("text", "value"), [("12", 12), ("12.50", 12.5), (" 7 ", 7), ("1e3", 1000), ("-3.5", -3.5)])
def test_plain_numbers_are_read(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1.299,00", "write 1299.00 if that is meant"),
        ("$1,299.00", "write 1299.00 if that is meant"),
        ("1,299", "without separators"),
        ("N.A.", "is not a plain number"),
        ("inf", "is not a plain number"),
        ("1_000", "is not a plain number"),
        ("", "is not a plain number"),
    ],
)
def test_other_numbers_are_refused_with_the_way_out(text, hint):
    with pytest.raises(ValueUnreadable, match=hint):
        parse_number(text)


def test_a_number_is_written_plain_with_at_most_two_decimals():
    assert [format_number(value) for value in (2490.0, 19.5, 19.99, 0.0, 70000.0, 1e6)] == [
        "2490", "19.5", "19.99", "0", "70000", "1000000",
    ]  # fmt: skip


def test_all_problems_of_a_row_come_in_one_message():
    with pytest.raises(ValueUnreadable) as caught:
        TAG.clean({"title": "", "category": "N.A.", "price": "1.299,00"})
    assert "title is empty" in str(caught.value)
    assert "category is 'N.A.', a missing value" in str(caught.value)
    assert "1299.00" in str(caught.value)


def test_a_value_that_holds_the_templates_own_words_is_refused():
    with pytest.raises(ValueUnreadable, match="cannot be read back"):
        TAG.clean(ROW | {"title": "Bag, Category: SHOES"})


@pytest.mark.parametrize(
    ("text", "fields", "says"),
    [
        ("{titel}", {"title": "text"}, "did you mean 'title'"),
        ("{title}", {"title": "text", "price": "number"}, "add {price} to it or drop the field"),
        ("{title}{price}", {"title": "text", "price": "number"}, "side by side"),
        ("{title}, {title}", {"title": "text"}, "more than once"),
        ("no field", {}, "has no field"),
    ],
)
def test_a_template_that_does_not_fit_its_fields_is_refused(text, fields, says):
    with pytest.raises(RecipeError) as caught:
        Template(text, fields)
    assert says in str(caught.value)


def test_known_categories_are_those_of_the_category_fields():
    assert known_categories(TAG, [{"title": "a", "category": "B", "price": 1.0}, {"category": "A"}]) == {
        "category": ["A", "B"]
    }

"""The table model: as near the source as a second sample, by a slow score of our own; and nothing of it given away."""

import itertools
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtag.catalogue.like.columns import encode, nature, read_columns
from hangtag.catalogue.like.novelty import REACHES, Source, choose_excess
from hangtag.catalogue.like.parts import OTHER
from hangtag.catalogue.like.sampling import sample
from hangtag.catalogue.like.table_model import TableModel
from hangtag.catalogue.split import fold
from hangtag.catalogue.table import Table, read_table
from hangtag.errors import TableError

LUMA = Path(__file__).parents[3] / "../shared/data/luma/table_color_variants.csv"
NUMERIC = ("number", "date")


def table_of(rows, names=None):
    names = names or list(rows[0])
    rows = [row.values() if isinstance(row, dict) else row for row in rows]
    return Table(names, [dict(zip(names, row, strict=True)) for row in rows], [])


def invent(table, rows=None, min_count=5, seed=0, **roles):
    model = TableModel(encode(table), min_count, seed, **roles)
    made = sample(model, rows or len(table.rows), seed)
    columns = [column.texts() for column in made.columns]
    return [dict(zip(table.columns, row, strict=True)) for row in zip(*columns, strict=True)], model


def kinds(model):
    return {part.name: part.nature.kind for part in model.parts}


def shop(count, seed):
    """A shop's table in several countries: three levels of categories, steps of prices, EUR by a rate, gaps."""
    rng = np.random.default_rng(seed)
    leaves = [(f"LEAF {n}", f"GROUP {n % 7}", f"TOP {n % 7 % 3}") for n in range(20)]
    shares = np.random.default_rng(1).dirichlet(np.full(20, 2.0))
    base = np.random.default_rng(2).normal(5.5, 0.8, 20)
    words = ["Check", "Wool", "Silk", "Leather", "Cotton", "Long", "Short", "Quilted", "Red", "Black", "Blue", "Green"]
    rows = []
    while len(rows) < count:
        n = int(rng.choice(20, p=shares))
        code = int(rng.integers(26_000_000, 80_900_000))
        title = f"{' '.join(rng.permutation(words)[:3])} Item{rng.integers(100_000)}"
        usd = np.exp(base[n] + rng.normal(0, 0.5)) * (8 if rng.random() < 0.02 else 1)
        for country, currency, factor, rate in [("USA", "USD", 1, 0.9225), ("FRA", "EUR", 0.95, 1.0)][
            : rng.integers(1, 3)
        ]:
            price = max(30, 10 * round(usd * factor / 10))
            sale = rng.random() < 0.2
            now = price * (0.8 if sale else 1)
            euro = "" if rng.random() < 0.1 else f"{now * rate:.2f}"
            url = "N.A." if rng.random() < 0.1 else f"https://www.shop.com/{country.lower()}/x-p{code}"
            day = f"2023-{rng.integers(1, 13):02d}-{rng.integers(1, 28):02d}"
            rows.append(
                [
                    "Shop",
                    day,
                    country,
                    currency,
                    *leaves[n][::-1],
                    str(code),
                    title,
                    url,
                    str(price),
                    f"{now:g}",
                    euro,
                    str(int(sale)),
                ]
            )
    names = (
        "website_name,date,country_code,currency_code,category1_code,category2_code,category3_code,product_code,"
        "title,itemurl,full_price,price,price_eur,flg_discount"
    )
    return table_of(rows[:count], names.split(","))


@pytest.fixture(scope="module")
def made():
    source = shop(1600, 0)
    rows, model = invent(source)
    return source, rows, model


# --- the score, slowly: CorrelationSimilarity and ContingencySimilarity of SDMetrics, averaged over pairs ---


def as_number(text, kind):
    if kind == "date":
        return float(np.datetime64(text, "D").astype(int)) if text[:4].isdigit() else np.nan
    try:
        return float(text)
    except ValueError:
        return np.nan


def binned(values):
    edges = np.histogram_bin_edges(values[~np.isnan(values)])
    return [int(np.digitize(value, edges)) for value in values]


def pair_trends(real, new, natures):
    scores = []
    for one, two in itertools.combinations(
        [name for name, kind in natures.items() if kind in (*NUMERIC, "category")], 2
    ):
        columns = [
            [[as_number(row[c], natures[c]) if natures[c] in NUMERIC else row[c] for row in rows] for c in (one, two)]
            for rows in (real, new)
        ]
        if any(len({value for value in column if value == value}) < 2 for pair in columns for column in pair):
            continue
        if natures[one] in NUMERIC and natures[two] in NUMERIC:
            rs = []
            for pair in columns:
                x, y = np.array(pair)
                both = ~np.isnan(x) & ~np.isnan(y)
                rs.append(np.corrcoef(x[both], y[both])[0, 1])
            scores.append(1 - abs(rs[0] - rs[1]) / 2)
            continue
        tables = []
        for pair in columns:
            codes = [
                binned(np.array(column)) if natures[c] in NUMERIC else column
                for c, column in zip((one, two), pair, strict=True)
            ]
            tables.append(Counter(zip(*codes, strict=True)))
        cells = set(tables[0]) | set(tables[1])
        scores.append(1 - sum(abs(tables[0][cell] / len(real) - tables[1][cell] / len(new)) for cell in cells) / 2)
    return float(np.mean(scores))


def folded(rows, natures, min_count=5):
    """Rare categories as the model folds them."""
    rows = [dict(row) for row in rows]
    for name, kind in natures.items():
        if kind == "category":
            counts = Counter(row[name] for row in rows)
            for row in rows:
                if counts[row[name]] < min_count and fold(row[name]):
                    row[name] = OTHER
    return rows


def halves_by_product(rows, seed):
    """No product in both: rows of one product are near each other, and no new row is of a known product."""
    key = "product_code" if "product_code" in rows[0] else "sku"
    codes = sorted({row[key] for row in rows})
    first = set(np.random.default_rng(seed).permutation(codes)[: len(codes) // 2])
    return [row for row in rows if row[key] in first], [row for row in rows if row[key] not in first]


def nearest(rows, real, natures):
    """Median over rows of the mean distance by column to the nearest real row."""
    names = [name for name, kind in natures.items() if kind in (*NUMERIC, "category")]
    total = np.zeros((len(rows), len(real)))
    for name in names:
        if natures[name] in NUMERIC:
            x, y = (np.array([as_number(row[name], natures[name]) for row in each]) for each in (rows, real))
            gaps = np.abs(x[:, None] - y) / max(np.nanmax(y) - np.nanmin(y), 1e-9)
            gaps = np.where(np.isnan(x)[:, None] & np.isnan(y), 0, np.nan_to_num(gaps, nan=1))
            total += np.minimum(gaps, 1)
        else:
            x, y = (np.array([row[name] for row in each]) for each in (rows, real))
            total += x[:, None] != y
    return float(np.median(total.min(1) / len(names)))


def luma():
    if not LUMA.is_file():
        pytest.skip("the table of the Luma sample shop is not here")
    return read_table(LUMA)


@pytest.mark.parametrize("which", ["shop", "luma"])
def test_pair_trends_and_distances_are_those_of_a_second_sample(which):
    source = shop(1600, 3) if which == "shop" else luma()
    ours, second, shuffled, ours_near, held_out = [], [], [], [], []
    for seed in range(6):
        learned, other = halves_by_product(source.rows, seed)
        new, model = invent(Table(source.columns, learned, []), seed=seed)
        natures = kinds(model)
        ours.append(pair_trends(learned, new, natures))
        second.append(pair_trends(learned, other, natures))
        rng = np.random.default_rng(seed)
        columns = [rng.permutation([row[name] for row in learned]).tolist() for name in source.columns]
        mixed = [dict(zip(source.columns, row, strict=True)) for row in zip(*columns, strict=True)]
        shuffled.append(pair_trends(learned, mixed, natures))
        ours_near.append(nearest(new, folded(learned, natures), natures))
        held_out.append(nearest(other, learned, natures))
    assert np.mean(ours) >= 0.93 * np.mean(second)
    assert np.mean(ours) - np.mean(shuffled) >= 0.9 * (np.mean(second) - np.mean(shuffled))
    assert which == "shop" or np.mean(shuffled) < 0.93 * np.mean(second)  # most of the shop's columns are independent
    noise = np.std(np.subtract(ours_near, held_out), ddof=1) / np.sqrt(len(held_out))
    assert np.mean(ours_near) >= np.mean(held_out) - 2 * noise


# --- what is kept ---


def test_what_each_column_is(made):
    _, _, model = made
    assert kinds(model) == {
        "website_name": "category", "date": "date", "country_code": "category", "currency_code": "category",
        "category1_code": "category", "category2_code": "category", "category3_code": "category",
        "product_code": "code", "title": "text", "itemurl": "url", "full_price": "number", "price": "number",
        "price_eur": "number", "flg_discount": "number",
    }  # fmt: skip
    assert (model.roles.title, model.roles.category, model.roles.price) == ("title", "category3_code", "price_eur")


def test_functional_dependencies_hold(made):
    source, rows, _ = made
    for one, two in [
        ("category3_code", "category2_code"),
        ("category2_code", "category1_code"),
        ("country_code", "currency_code"),
        ("product_code", "title"),
        ("product_code", "category3_code"),
    ]:
        known = defaultdict(set)
        for row in rows:
            known[row[one]].add(row[two])
        assert max(map(len, known.values())) == 1
        if one.startswith("category"):
            assert {(k, *v) for k, v in known.items()} <= {(row[one], row[two]) for row in source.rows}
    rate = {"USD": 0.9225, "EUR": 1.0}
    for row in rows:
        if row["price_eur"]:
            assert float(row["price_eur"]) == pytest.approx(
                float(row["price"]) * rate[row["currency_code"]], abs=0.0101
            )


def test_missing_values_come_as_often_and_as_they_stand(made):
    source, rows, _ = made
    for name, token in (("price_eur", ""), ("itemurl", "N.A.")):
        was, now = (np.mean([row[name] == token for row in each]) for each in (source.rows, rows))
        assert now == pytest.approx(was, abs=0.02)
        assert {row[name] for row in rows if not fold(row[name])} == {token}


def test_prices_keep_range_steps_and_equality(made):
    source, rows, _ = made
    prices = [int(row["full_price"]) for row in rows]
    was = [int(row["full_price"]) for row in source.rows]
    assert min(was) <= min(prices) <= max(prices) <= max(was)
    assert np.mean([price % 10 == 0 for price in prices]) == 1
    assert np.median(prices) == pytest.approx(np.median(was), rel=0.1)
    equal = [np.mean([row["price"] == row["full_price"] for row in each]) for each in (source.rows, rows)]
    assert equal[1] == pytest.approx(equal[0], abs=0.03)


def test_products_are_shared_by_as_many_rows(made):
    source, rows, _ = made
    for name in ("product_code", "title"):
        was, now = (sorted(Counter(row[name] for row in each).values()) for each in (source.rows, rows))
        assert now == was
    pairs = Counter((row["product_code"], row["country_code"]) for row in rows)
    assert max(pairs.values()) == 1


def test_urls_are_fresh_and_of_the_same_shape(made):
    source, rows, _ = made
    urls = [row["itemurl"] for row in rows if row["itemurl"] != "N.A."]
    assert not set(urls) & {row["itemurl"] for row in source.rows}
    for row in rows:
        if row["itemurl"] != "N.A.":
            assert row["itemurl"].startswith(("https://shop.example/usa/x-p", "https://shop.example/fra/x-p"))
            assert row["itemurl"].endswith(row["product_code"])


# --- what is not given away ---


def test_nothing_of_the_source_is_given_away(made):
    source, rows, _ = made
    old = {tuple(row.values()) for row in source.rows}
    assert not old & {tuple(row.values()) for row in rows}
    assert not {fold(row["title"]) for row in source.rows} & {fold(row["title"]) for row in rows}
    assert not {row["product_code"] for row in source.rows} & {row["product_code"] for row in rows}
    counts = Counter(word for title in {row["title"] for row in source.rows} for word in set(title.split()))
    rare = {word for word, count in counts.items() if count < 5}
    assert rare
    assert not rare & {word for row in rows for word in row["title"].split()}


def test_rows_have_the_content_of_the_source_no_more_often_than_its_other_products(made):
    source, rows, _ = made
    names = ["country_code", "category3_code", "full_price", "price", "flg_discount"]
    holders = defaultdict(set)
    for row in source.rows:
        holders[tuple(row[name] for name in names)].add(row["product_code"])
    held_out = np.mean([len(holders[tuple(row[name] for name in names)]) > 1 for row in source.rows])
    ours = np.mean([tuple(row[name] for name in names) in holders for row in rows])
    assert held_out - 0.1 < ours <= held_out + 0.01


def test_how_near_products_are_is_counted_as_row_by_row():
    rng = np.random.default_rng(0)
    rows = []
    while len(rows) < 300:
        price, kind = str(rng.integers(20, 900)), f"K{rng.integers(6)}"
        code = str(rng.integers(10**7, 10**8))
        rows += [{"sku": code, "kind": kind, "size": size, "price": price} for size in "SML"[: rng.integers(1, 4)]]

    def gap(row, other):
        if row["sku"] == other["sku"] or (row["kind"], row["size"]) != (other["kind"], other["size"]):
            return np.inf
        return abs(int(row["price"]) - int(other["price"])) / int(row["price"])

    gaps = np.array([min(gap(row, other) for other in rows) for row in rows])
    allowed = Source(TableModel(encode(table_of(rows)))).allowed
    assert allowed == pytest.approx([np.mean(gaps <= reach) for reach in REACHES])
    assert 0 < allowed[1] < allowed[3] < allowed[-1] < 1


def test_no_more_products_than_the_excess_are_drawn_again():
    rng = np.random.default_rng(0)
    gaps = rng.choice([0, 0.005, 0.02, 0.07, 0.5, np.inf], 1000)
    product = np.sort(rng.integers(0, 600, 1000))
    allowed = np.linspace(0.1, 0.6, len(REACHES))
    chosen = choose_excess(gaps, allowed, product, rng)
    left = np.array([np.mean((gaps <= reach) & ~np.isin(product, chosen)) for reach in REACHES])
    before = np.array([np.mean(gaps <= reach) for reach in REACHES])
    assert np.all(left <= np.minimum(allowed, before))
    assert left[0] > 0.09
    assert not len(choose_excess(gaps, before, product, rng))


@pytest.mark.parametrize("seed", range(3))
def test_a_table_without_titles_has_no_row_of_the_source_where_there_is_room(seed):
    rng = np.random.default_rng(seed)
    rows = [
        {"kind": f"K{rng.integers(3)}", "made": f"M{rng.integers(2)}", "price": str(10 * rng.integers(3, 60))}
        for _ in range(200)
    ]
    old = {tuple(row.values()) for row in rows}
    new, _ = invent(table_of(rows), seed=seed)
    assert not old & {tuple(row.values()) for row in new}
    assert {int(row["price"]) % 10 for row in new} == {0}
    was, now = (np.median([int(row["price"]) for row in each]) for each in (rows, new))
    assert now == pytest.approx(was, rel=0.1)


def test_combinations_of_which_no_other_is_left_are_counted():
    rows = [{"kind": f"K{n % 3}", "made": f"M{n % 2}"} for n in range(120)]
    source = table_of(rows)
    model = TableModel(encode(source))
    assert sample(model, 120).repeated == 120
    assert sample(TableModel(encode(shop(150, 0))), 150).repeated == 0


def test_a_table_with_no_room_keeps_its_distribution():
    rng = np.random.default_rng(0)
    rows = [{"kind": f"K{n % 3}", "price": str(10 * (3 + int(rng.exponential(15))))} for n in range(1500)]
    old = {tuple(row.values()) for row in rows}
    new, model = invent(table_of(rows))
    repeated = sum(tuple(row.values()) in old for row in new)
    assert repeated == sample(model, 1500).repeated > 1000
    was, now = (np.mean([int(row["price"]) for row in each]) for each in (rows, new))
    assert now == pytest.approx(was, rel=0.05)


@pytest.mark.parametrize("min_count", [1, 3, 20])
def test_rare_categories_are_folded(min_count):
    rng = np.random.default_rng(0)
    rows = [{"title": f"Thing {n}", "kind": f"K{int(rng.integers(40)) ** 2 // 60}"} for n in range(300)]
    new, _ = invent(table_of(rows), min_count=min_count)
    counts = Counter(row["kind"] for row in rows)
    kept = {kind for kind, count in counts.items() if count >= min_count}
    assert {row["kind"] for row in new} <= kept | {OTHER}
    assert ({row["kind"] for row in new} - kept == {OTHER}) == (min(counts.values()) < min_count)


def test_a_single_extreme_is_not_repeated():
    rows = [{"title": f"Thing {n}", "price": str(100 + n % 83)} for n in range(200)] + [
        {"title": "Crown", "price": "70000"}
    ]
    assert all(row["price"] != "70000" for seed in range(5) for row in invent(table_of(rows), seed=seed)[0])


def test_the_same_seed_is_the_same_table():
    source = shop(300, 5)
    assert invent(source, 500, seed=4)[0] == invent(source, 500, seed=4)[0] != invent(source, 500, seed=5)[0]


NASTY = st.sampled_from([
    "", "N.A.", "nan", "0", "-3.50", "1e400", "99999999999999999999", "=1+1", "@x", "2024-02-30", "2024-02-29",
    "31/12/2023", "https://a.com/x", "http://[", "a/b.jpg", "红色 外套", "ünï cödé", '"quoted", cell', "line\nbreak",
    "x" * 300, "SKU-1", "7", "7", "a b c",
])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(NASTY, NASTY, st.integers(-(10**6), 10**6).map(str)), min_size=2, max_size=40),
    st.integers(1, 6),
    st.sampled_from([("title", "x", "price"), ("id", "name", "url"), ("a", "title", "date")]),
)
def test_any_table_gives_one_of_its_form(rows, min_count, names):
    source = table_of(rows, list(names))
    columns = encode(source)
    new, model = invent(source, 25, min_count=min_count)
    assert len(new) == 25
    natures = kinds(model)
    for name in names:
        old = [row[name] for row in source.rows]
        counts = Counter(old)
        for value in {row[name] for row in new}:
            if natures[name] in ("text", "code", "url") and fold(value):
                assert fold(value) not in set(map(fold, old))
            elif natures[name] == "category" and value != OTHER and fold(value):
                assert counts[value] >= min_count
            elif not fold(value) and natures[name] != "path":
                assert value in counts
    assert [column.name for column in columns] == list(names)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["12.50", "13.00", "99.99"] * 9, "number"),
        (["$12.50", "$3", "$9.9"] * 9, "number"),
        (["1e-05", "0.5", "3"] * 9, "number"),
        (["007", "012", "990"] * 9, "category"),
        ([f"{n:03d}-AB" for n in range(30)], "code"),
        ([str(n) for n in range(5, 35)], "counter"),
        ([str(50_000_000 + n * n * 7919) for n in range(30)], "code"),
        ([f"{1 + n % 28:02d}/{1 + n % 12:02d}/2023" for n in range(30)], "date"),
        ([f"2023-01-{1 + n % 28:02d}T10:{n:02d}:00" for n in range(30)], "date"),
        (["images/a.jpg", "b.PNG"] * 9, "path"),
        (["http://a.com/1", "//cdn.com/2"] * 9, "url"),
        (["TOP 1", "TOP 2"] * 9, "category"),
        ([f"some words {n} more" for n in range(30)], "text"),
        (["", "N.A."] * 9, "category"),
    ],
)
def test_kinds(values, kind):
    assert nature(encode(table_of([[value] for value in values], ["x"]))[0], 5).kind == kind


def test_numbers_are_written_as_they_stand():
    for values in (
        ["$12.50", "$3.00"],
        ["52.0", "56.99"],
        ["-3", "0"],
        ["5 ml", "10 ml"],
        ["01.02.2023", "28.02.2023"],
    ):
        each = nature(encode(table_of([[value] for value in values * 9], ["x"]))[0], 5)
        assert each.numbers.write(each.numbers.values).to_pylist() == values


def test_large_files_are_read_as_small_ones(tmp_path, monkeypatch):
    text = 'a, b ,\n1,"x, ""y""\nz",\n3,4\n,"",7\nnan,N.A.,8\n'
    (tmp_path / "t.csv").write_text(text, encoding="utf-8-sig")
    slow = [(each.name, [each.texts()[code] for code in each.codes]) for each in read_columns(tmp_path / "t.csv")]
    monkeypatch.setattr("hangtag.catalogue.like.columns.LARGE_FILE", 1)
    fast = [(each.name, [each.texts()[code] for code in each.codes]) for each in read_columns(tmp_path / "t.csv")]
    assert fast == slow
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,\xff\n")
    with pytest.raises(TableError, match="not UTF-8"):
        read_columns(tmp_path / "t.csv")


def test_a_role_that_cannot_be_played_is_refused():
    source = shop(50, 0)
    with pytest.raises(TableError, match="did you mean 'title'"):
        invent(source, title="titel")
    with pytest.raises(TableError, match="holds no numbers"):
        invent(source, price="country_code")

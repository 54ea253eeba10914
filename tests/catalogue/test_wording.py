"""What rows say in six languages: kinds, colours, patterns and materials, and what no list has."""

import pytest

from hangtag.catalogue.render import KINDS, vocabulary
from hangtag.catalogue.render.goods import GOODS
from hangtag.catalogue.render.patterns import MORE_PATTERNS, PATTERNS
from hangtag.catalogue.render.vocabulary import COLOUR_WORD, FAMILIES, FAMILY_WORDS, KIND_WORDS, SHADE
from hangtag.catalogue.render.wording import LONGEST_TEXT, read


@pytest.mark.parametrize(
    ("category", "title", "kind"),
    [
        ("CROSSBODY", "Medium Lola Bag", "CROSSBODY BAGS"),
        ("SNEAKERS", "Suede Leather and Check Sneakers", "SNEAKERS"),
        ("HATS & GLOVES", "Cotton Gabardine Belted Bucket Hat", "HATS"),
        ("Tees", "Zoltan Gym Tee", "T-SHIRTS"),
        ("Hoodies & Sweatshirts", "Frankie Sweatshirt", "HOODIES"),
        ("Men/Tops/Tees", "", "T-SHIRTS"),
        ("Women > Shoes > Ankle Boots", "", "BOOTS"),
        ("Bras & Tanks", "Breathe-Easy Tank", "BRAS"),
        ("Pants", "Aeon Capri", "TROUSERS"),
        ("Shorts", "Pierce Gym Short", "SHORTS"),
        ("T-Shirts", "Jacket", "T-SHIRTS"),
        ("Footwear", "Wanderer Hiking Boots", "BOOTS"),
        ("Footwear", "Trail Breeze", "SNEAKERS"),
        ("Bags", "Explorer 45L Backpack", "BACKPACKS"),
        ("Bags", "Guardian Chalk Bag", "TOTE BAGS"),
        ("Accessories", "Check Silk Scarf", "SCARVES"),
        ("Women", "Pleated midi skirt", "SKIRTS"),
        ("", "Basketball Shoes", "SNEAKERS"),
        ("N.A.", "Shirt Dress with Belt", "DRESSES"),
        ("", "Water Bottle", "BOTTLES"),
        ("", "Anello a forma di palla", "RINGS"),
        ("", "Borse per orologi", "TOTE BAGS"),
        ("-", "T-shirt dress", "DRESSES"),
        ("运动鞋", "", "SNEAKERS"),
        ("女士连衣裙", "", "DRESSES"),
        ("", "黑色皮革双肩包", "BACKPACKS"),
        ("围巾和手套", "", "SCARVES"),
        ("Borse a tracolla", "", "CROSSBODY BAGS"),
        ("Scarpe da uomo", "Stivali in pelle", "BOOTS"),
        ("Écharpes", "", "SCARVES"),
        ("Chaussures", "Escarpins à talons", "PUMPS"),
        ("Gürtel", "", "BELTS"),
        ("HANDSCHUHE", "", "GLOVES"),
        ("", "Dunkelblaue Regenjacke", "JACKETS"),
        ("Zapatos de mujer", "Botas negras", "BOOTS"),
        ("Gafas de sol", "", "SUNGLASSES"),
    ],
)
def test_the_kind_is_read(category, title, kind):
    said = read(category, title)
    assert (said.kind, said.name) == (kind, "")
    assert kind in GOODS


@pytest.mark.parametrize(
    "category", ["Climbing", "Video Download", "家具", "Ski/boarding", "Quilnax", "Accessories", "💡"]
)
def test_an_unknown_category_keeps_its_name(category):
    said = read(category, "Red Climbing Shoes" if category != "Accessories" else "Red thing")
    assert (said.kind, said.name) == ("", category.lower())


@pytest.mark.parametrize(
    ("words", "colours", "pattern", "material"),
    [
        ("Navy striped tee", ["Navy"], "Striped", ""),
        ("Steel-Blue shoes Blue", ["steelblue"], "", ""),
        ("Tee / Off-White & Burgundy", ["Cream", "Burgundy"], "", ""),
        ("Olive Green Backpack", ["Olive"], "", ""),
        ("Navy Blue Blue", ["Navy"], "", ""),
        ("Black Red", ["Black", "Red"], "", ""),
        ("Blue Green Red", ["Blue", "Green"], "", ""),
        ("Rose gold / hot pink", ["Champagne", "Fuchsia"], "", ""),
        ("Mint polka-dot dress", ["Mint"], "Dotted", ""),
        ("Grigio e bordeaux, a quadri", ["Grey", "Burgundy"], "Checked", ""),
        ("weiß-blau gestreiftes Hemd, gestreift", ["White", "Blue"], "Striped", ""),
        ("Robe à fleurs bleue en soie", ["Blue"], "Floral", "Satin"),
        ("Vestidos rojos de lunares", ["Red"], "Dotted", ""),
        ("藏青色格纹围巾", ["Navy"], "Checked", ""),
        ("酒红色 豹纹 皮革", ["Burgundy"], "Leopard", "Leather"),
        ("Camo quilted jacket, khaki", ["Khaki"], "Camouflage", "Quilted"),
        ("Plain swirly jacquard", [], "Plain", ""),
        ("SnowJacket Frost", [], "", ""),
    ],
)
def test_colours_patterns_and_materials_are_read(words, colours, pattern, material):
    said = read("Tees", words)
    named = {**COLOUR_WORD, **SHADE}
    assert said.colours == tuple(named[name] for name in colours)
    assert (said.pattern, said.material) == (pattern, material)


def test_a_colour_can_be_dark_or_light():
    dark, usual, light = (sum(read("", f"{word} sage").colours[0]) for word in ("dark", "", "light"))
    assert dark < usual < light
    assert read("", "hellorange").colours == read("", "light orange").colours == read("", "arancio chiaro").colours
    assert read("", "深红").colours == read("", "rouge foncé").colours != read("", "rouge").colours


def test_every_listed_word_is_read_as_what_it_stands_for():
    for word, kind in {**FAMILY_WORDS, **KIND_WORDS}.items():
        said = read(word, "")
        assert said.kind == (FAMILIES[kind][0] if kind in FAMILIES else kind), word
    for word, rgb in COLOUR_WORD.items():
        assert read("", word).colours == (rgb,), word
    tables = {"pattern": "PATTERN", "material": "MATERIAL", "size": "SIZE", "sleeves": "SLEEVE", "fitting": "FITTING"}
    for field, name in tables.items():
        for word, value in getattr(vocabulary, f"{name}_WORDS").items():
            assert getattr(read("", word), field) == value, word


def test_every_kind_that_words_name_can_be_drawn():
    assert set(KIND_WORDS.values()) == set(GOODS) >= set(KINDS)
    assert {kind for members in FAMILIES.values() for kind in members if kind} <= set(GOODS)
    assert set(vocabulary.PATTERN_WORDS.values()) == {*PATTERNS, *MORE_PATTERNS}


def test_what_stands_behind_the_longest_text_changes_nothing():
    long = "x" * LONGEST_TEXT
    assert read(long + "a", long + " red") == read(long + "b", long)

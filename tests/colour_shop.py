"""A shop of plain pictures whose colour tells kind and price, and someone who reads them."""

import csv

import numpy as np
from PIL import Image

from hangtag.answer import Template
from hangtag.catalogue import open_catalogue

KINDS = ["BAG", "BELT", "COAT", "HAT", "SHOE"]
TEMPLATE = Template(
    "Product: {title}, Category: {kind}, Price: {price}", {"title": "text", "kind": "category", "price": "number"}
)


def tag_of(red: int, green: int) -> tuple[str, str, float]:
    kind = KINDS[min(red // 50, 4)]
    return f"Plain {kind.lower()} number {green // 25}", kind, round(20 * 1.02 ** float(green))


def write_shop(folder, rows=240, prices=None, sizes=((24, 24), (32, 24)), splits=None):
    """Plain pictures whose red tells the kind and whose green the price; every fifth row is a test row."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    table = []
    for row in range(rows):
        red, green = int(generator.integers(0, 250)), int(generator.integers(0, 250))
        file = f"images/{row}.png"
        Image.new("RGB", sizes[row % len(sizes)], (red, green, row % 250)).save(folder / file)
        title, kind, price = tag_of(red, green)
        split = splits[row] if splits else ("test", "validation", "train", "train", "train")[row % 5]
        table.append([file, title, kind, prices[row] if prices else price, split])
    with open(folder / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file_name", "title", "kind", "price", "split"], *table])
    return open_catalogue(folder)


class ColourReader:
    """Answers from a picture's first pixel and nothing else."""

    def answers(self, images, progress=None):
        texts = [self.answer(image) for image in images]
        if progress:
            progress(len(images), len(images))
        return texts

    def answer(self, image):
        title, kind, price = tag_of(*self.pixel(image)[:2])
        return f"Product: {title}, Category: {kind}, Price: {price:.0f}"

    def pixel(self, image):
        return (image if isinstance(image, Image.Image) else Image.open(image)).getpixel((0, 0))

"""What a run is: the typed recipe (`sections`, the only place where a default lives), and reading one (`loading`)."""

from hangtag.recipe.loading import check_recipe, load_recipe, shipped_recipes
from hangtag.recipe.sections import Data, Lora, Model, NanoSizes, Rates, Recipe, Task, Track, Train

__all__ = [
    "Data",
    "Lora",
    "Model",
    "NanoSizes",
    "Rates",
    "Recipe",
    "Task",
    "Track",
    "Train",
    "check_recipe",
    "load_recipe",
    "shipped_recipes",
]

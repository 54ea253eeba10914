"""A catalogue in figures: columns, prices, categories, titles, pictures, groups and leaks. Numbers only; no page."""

"""A run as a folder of its own: merged, in the published layout, with a card, and proved against the run."""

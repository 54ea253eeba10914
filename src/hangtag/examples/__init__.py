"""Rows and pictures to what the model is trained on: ids, labels and pixels, packed into passes."""

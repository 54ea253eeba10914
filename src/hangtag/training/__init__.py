"""Fine-tuning on transformers' Trainer: a recipe to a run folder with a trained model."""

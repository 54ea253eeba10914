"""Supervised fine-tuning on transformers' Trainer."""

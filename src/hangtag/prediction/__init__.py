"""Tags for pictures: batched generation from a run's model."""

"""How well a model writes tags: generated answers scored beside baselines and controls. Nothing here imports torch."""

from hangtag.evaluation.asking import Answerer
from hangtag.evaluation.evaluate import evaluate, write_evaluation

__all__ = ["Answerer", "evaluate", "write_evaluation"]

"""Phi-3-vision and Phi-3.5-vision in transformers' own manner; importing it registers them with the Auto classes."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor  # transformers' own asks for torchvision
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from hangtag.phi3v.configuration_phi3_v import Phi3VConfig
from hangtag.phi3v.image_processing_phi3_v import Phi3VImageProcessor
from hangtag.phi3v.modeling_phi3_v import Phi3VForCausalLM, Phi3VModel
from hangtag.phi3v.processing_phi3_v import Phi3VProcessor

AutoConfig.register("phi3_v", Phi3VConfig, exist_ok=True)
AutoModel.register(Phi3VConfig, Phi3VModel, exist_ok=True)
AutoModelForCausalLM.register(Phi3VConfig, Phi3VForCausalLM, exist_ok=True)
AutoModelForImageTextToText.register(Phi3VConfig, Phi3VForCausalLM, exist_ok=True)
AutoImageProcessor.register(
    Phi3VConfig,
    image_processor_classes={"pil": Phi3VImageProcessor, "torchvision": Phi3VImageProcessor},
    exist_ok=True,
)
AutoProcessor.register(Phi3VConfig, Phi3VProcessor, exist_ok=True)
# The published tokenizer_config.json names LlamaTokenizer, which would replace tokenizer.json's own normaliser and
# so lose a token before every newline; this makes AutoTokenizer take tokenizer.json as it is.
TOKENIZER_MAPPING_NAMES["phi3_v"] = "TokenizersBackend"

__all__ = ["Phi3VConfig", "Phi3VForCausalLM", "Phi3VImageProcessor", "Phi3VModel", "Phi3VProcessor"]

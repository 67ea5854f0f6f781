"""How large a model is: from its configuration, for published models from a table of configurations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A decoder with gated MLPs, in the fields of a Hugging Face configuration.

    ``experts`` of which ``active`` work on a token; ``norms`` per layer; ``tied`` input and output embeddings;
    ``head`` False stands for a sequence classifier, which has one output instead of a vocabulary. ``stated`` replaces the
    count where only a number of parameters is known.
    """

    layers: int = 0
    hidden: int = 0
    intermediate: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_size: int = 0
    vocabulary: int = 0
    tied: bool = False
    experts: int = 1
    active: int = 1
    qkv_bias: bool = False
    norms: int = 2
    head: bool = True
    stated: float = 0

    @property
    def parameters(self) -> float:
        """All weights: what is stored and held in memory."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied or not self.head else 2)
        outputs = 0 if self.head else self.hidden
        return self.stated or self.layers * self._layer(self.experts) + embeddings + outputs + self.hidden

    @property
    def computed(self) -> float:
        """N of "2 N FLOPs a token": the weights that a token is multiplied with, the embedding's look-up left out."""
        output = self.vocabulary * self.hidden if self.head else self.hidden
        return self.stated or self.layers * self._layer(self.active) + output

    @property
    def kv_bytes(self) -> float:
        """Bytes of the key-value cache per token in 16 bits; 0 where only the number of parameters is known."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_size

    def _layer(self, experts: int) -> int:
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = 2 * self.hidden * (queries + keys) + (queries + 2 * keys if self.qkv_bias else 0)
        router = self.hidden * self.experts if self.experts > 1 else 0
        return attention + 3 * self.hidden * self.intermediate * experts + router + self.norms * self.hidden


#: Where a family differs from the plain decoder.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "ministral": {},
    "qwen2": {"qkv_bias": True},
    "gemma2": {"norms": 4, "tied": True},
    "cohere": {"norms": 1, "tied": True},
    "cohere2": {"norms": 1, "tied": True},
    "mixtral": {},
}


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a ``config.json`` describes; None for a family whose count is not known here."""
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        return None
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        shape = Shape(
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            intermediate=int(config["intermediate_size"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or hidden // heads),
            vocabulary=int(config["vocab_size"]),
            experts=int(config.get("num_local_experts") or 1),
            active=int(config.get("num_experts_per_tok") or 1),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    classifier = any("SequenceClassification" in str(name) for name in config.get("architectures") or [])
    fixed = {"tied": bool(config.get("tie_word_embeddings", False)), **family}
    return replace(shape, head=not classifier, **fixed)


_AYA_8B = Shape(32, 4096, 14336, 32, 8, 128, 256000, tied=True, norms=1)
_LLAMA_8B = Shape(32, 4096, 14336, 32, 8, 128, 128256)
_LLAMA_70B = Shape(80, 8192, 28672, 64, 8, 128, 128256)
_QWEN_7B = Shape(28, 3584, 18944, 28, 4, 128, 152064, qkv_bias=True)
_QWEN_32B = Shape(64, 5120, 27648, 40, 8, 128, 152064, qkv_bias=True)
_GEMMA_9B = Shape(42, 3584, 14336, 16, 8, 256, 256000, tied=True, norms=4)
_GEMMA_27B = Shape(46, 4608, 36864, 32, 16, 128, 256000, tied=True, norms=4)

#: From the config.json of each model on the hub.
PUBLISHED = {
    "CohereLabs/aya-23-8B": _AYA_8B,
    "CohereLabs/aya-expanse-8b": _AYA_8B,
    "CohereLabs/aya-23-35B": Shape(40, 8192, 22528, 64, 64, 128, 256000, tied=True, norms=1),
    "CohereLabs/aya-expanse-32b": Shape(40, 8192, 24576, 64, 8, 128, 256000, tied=True, norms=1),
    "Skywork/Skywork-Reward-V2-Llama-3.1-8B": replace(_LLAMA_8B, head=False),
    "google/gemma-2-9b-it": _GEMMA_9B,
    "google/gemma-2-27b-it": _GEMMA_27B,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_8B,
    "meta-llama/Llama-3.1-70B-Instruct": _LLAMA_70B,
    "mistralai/Ministral-8B-Instruct-2410": Shape(36, 4096, 12288, 32, 8, 128, 131072),
    "mistralai/Mixtral-8x22B-Instruct-v0.1": Shape(56, 6144, 16384, 48, 8, 128, 32768, experts=8, active=2),
    "Qwen/Qwen2.5-7B-Instruct": _QWEN_7B,
    "Qwen/Qwen2.5-32B-Instruct": _QWEN_32B,
}

"""Plain torch training of tiny Cohere models: deterministic for a given seed and number of threads."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from components.common.models import conversation, encode_conversations

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import CohereForCausalLM

__all__ = ["Example", "Optimisation", "Shape", "encode", "minimise", "new_model", "padded", "sample", "save", "train"]

Example = tuple[list[int], list[int]]  # token ids of the prompt turn, token ids of the answer with its end
MAX_NEW_TOKENS = 32


class Shape(BaseModel):
    """Size of a model; with transformers' default ``initializer_range`` of 0.02 tiny widths hardly learn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_size: PositiveInt = 128
    intermediate_size: PositiveInt = 384
    num_hidden_layers: PositiveInt = 3
    num_attention_heads: PositiveInt = 4
    num_key_value_heads: PositiveInt = 2
    initializer_range: PositiveFloat = 0.06


class Optimisation(BaseModel):
    """Muon for the hidden matrices, AdamW for the rest; a tenth of warm-up and a linear decay to zero.

    ``batch`` counts examples, ``matrix_rate`` is Muon's learning rate and ``learning_rate`` that of AdamW.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: PositiveInt
    batch: PositiveInt = 32
    learning_rate: PositiveFloat = 5e-3
    matrix_rate: PositiveFloat = 0.02


def new_model(tokenizer: Any, shape: Shape, seed: int) -> "CohereForCausalLM":
    """A freshly initialised model that fits the tokenizer; logits are not scaled, as tiny widths need it."""
    import torch
    from transformers import CohereConfig, CohereForCausalLM

    torch.manual_seed(seed)
    return CohereForCausalLM(
        CohereConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=512,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            logit_scale=1.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **shape.model_dump(),
        )
    )


def encode(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[Example]:
    """Token ids of (prompt, answer) pairs in the chat format, the answer closed by its end token."""
    prompts = encode_conversations(tokenizer, [conversation(prompt) for prompt, _ in pairs], add_generation_prompt=True)
    answers = tokenizer([answer for _, answer in pairs], add_special_tokens=False).input_ids
    return [(prompt, [*answer, tokenizer.eos_token_id]) for prompt, answer in zip(prompts, answers, strict=True)]


def padded(rows: Sequence[list[int]], pad: int, left: bool = False) -> "tuple[Tensor, Tensor]":
    """Token ids and attention mask of shape (rows, longest row)."""
    import torch

    width = max(map(len, rows))
    filled = [[pad] * (width - len(row)) + row if left else row + [pad] * (width - len(row)) for row in rows]
    kept = [
        [0] * (width - len(row)) + [1] * len(row) if left else [1] * len(row) + [0] * (width - len(row)) for row in rows
    ]
    return torch.tensor(filled), torch.tensor(kept)


def batches(lengths: Sequence[int], size: int, steps: int, rng: Random) -> Iterator[list[int]]:
    """``steps`` batches of indices; examples of similar length share one, the order of batches is random."""
    order: list[int] = []
    ready: list[list[int]] = []
    for _ in range(steps):
        if not ready:
            while len(order) < 16 * size:
                order.extend(rng.sample(range(len(lengths)), len(lengths)))
            window, order = sorted(order[: 16 * size], key=lambda index: lengths[index]), order[16 * size :]
            ready = [window[start : start + size] for start in range(0, len(window), size)]
            rng.shuffle(ready)
        yield ready.pop()


def minimise(model: "nn.Module", losses: "Iterator[Tensor]", settings: Optimisation) -> None:
    """One optimiser step per loss; ``losses`` computes each from the model's current weights."""
    import torch

    matrices = [weight for name, weight in model.named_parameters() if ".layers." in name and weight.ndim == 2]
    others = [weight for name, weight in model.named_parameters() if not (".layers." in name and weight.ndim == 2)]
    optimisers = (
        torch.optim.Muon(matrices, lr=settings.matrix_rate, weight_decay=0.01),
        torch.optim.AdamW(others, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01),
    )
    warmup = max(1, settings.steps // 10)

    def factor(step: int) -> float:
        return min((step + 1) / warmup, (settings.steps - step) / max(1, settings.steps - warmup))

    schedules = [torch.optim.lr_scheduler.LambdaLR(optimiser, factor) for optimiser in optimisers]
    model.train()
    for loss in losses:
        model.zero_grad()
        loss.backward()
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
    model.eval()


def train(model: "CohereForCausalLM", examples: Sequence[Example], settings: Optimisation, seed: int) -> None:
    """Teach the answers, given the prompts, in place."""
    import torch

    def losses() -> "Iterator[Tensor]":
        lengths = [len(prompt) + len(answer) for prompt, answer in examples]
        for batch in batches(lengths, settings.batch, settings.steps, Random(seed)):
            chosen = [examples[index] for index in batch]
            ids, mask = padded([prompt + answer for prompt, answer in chosen], model.config.pad_token_id)
            places = torch.arange(ids.shape[1])
            taught = mask.bool() & (places >= torch.tensor([[len(prompt)] for prompt, _ in chosen]))
            hidden = model.model(ids, attention_mask=mask, use_cache=False).last_hidden_state
            # Only the answers' positions go through the vocabulary, half of the work at this size.
            logits = model.lm_head(hidden[:, :-1][taught[:, 1:]]) * model.logit_scale
            yield torch.nn.functional.cross_entropy(logits, ids[:, 1:][taught[:, 1:]])

    minimise(model, losses(), settings)


def sample(
    model: "CohereForCausalLM",
    tokenizer: Any,
    prompts: Sequence[str],
    temperature: float,
    samples: int = 1,
    seed: int = 0,
    batch: int = 256,
) -> list[list[str]]:
    """``samples`` answers for each prompt; greedy at temperature 0."""
    import torch

    torch.manual_seed(seed)
    encoded = encode_conversations(tokenizer, [conversation(prompt) for prompt in prompts], add_generation_prompt=True)
    answers: list[list[str]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]))
    choice = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        ids, mask = padded([encoded[index] for index in part], tokenizer.pad_token_id, left=True)
        written = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=MAX_NEW_TOKENS, num_return_sequences=samples, **choice
        )
        texts = tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
        for place, index in enumerate(part):
            answers[index] = texts[place * samples : (place + 1) * samples]
    return answers


def save(model: Any, tokenizer: Any, output: Path) -> None:
    """Write config.json, model.safetensors, generation_config.json and the tokenizer's files."""
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)

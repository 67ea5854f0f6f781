"""The model as KServe sees it: V1 predict and V2 infer over one engine."""

import asyncio
from pathlib import Path
from typing import Any

import kserve
from kserve import InferOutput, InferRequest, InferResponse

from components.common.errors import BadInput
from components.common.models import conversation, load_causal_lm
from serving.batch import Batch, Tokens
from serving.engine import Engine, EngineError
from serving.limits import Limits, Refused
from serving.metrics import TOKENS, observe
from serving.prompts import Encoder
from serving.schemas import SamplingFields, parse

FALLBACK_CONTEXT = 8192
PROTOCOL_TOKENS = 256  # what V1 and V2 write when the request does not say
TENSOR = {"datatype": "BYTES", "shape": [-1]}


class Predictor(kserve.Model):  # type: ignore[misc]
    """A model folder and the engine that decodes it. Each prompt of V1 and V2 is one user turn, answered once."""

    encoder: Encoder
    decoder: Engine

    def __init__(self, name: str, folder: Path, limits: Limits) -> None:
        super().__init__(name)
        self.limits = limits
        self._folder = folder

    def load(self) -> bool:
        """Load the weights, answer a first prompt to see that they work, and start the engine."""
        try:
            model, tokenizer = load_causal_lm(self._folder)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise BadInput(f"{self._folder} cannot be loaded as a causal language model: {error}") from error
        context = getattr(model.config, "max_position_embeddings", FALLBACK_CONTEXT)
        self.encoder = Encoder(tokenizer, context, model.get_input_embeddings().num_embeddings, self.limits)
        if not Batch(model).add([self._first_prompt()]).isfinite().all():
            raise BadInput(f"{self._folder} computes logits that are not finite numbers; train or merge it again.")
        self.decoder = Engine(model, tokenizer, self.limits)
        self.decoder.start()
        observe(lambda: self.decoder.running, lambda: self.decoder.waiting)
        self.ready = True
        return True

    def _first_prompt(self) -> Tokens:
        """One rendered turn; raises BadInput when the folder's chat template is missing or fails."""
        try:
            return self.encoder.conversation(conversation("?"))
        except Refused as error:
            raise BadInput(
                f"{self._folder}: the chat template cannot be used ({error.message}); replace it."
            ) from error

    def start(self) -> None:
        """Nothing is left to set up once the model is loaded; KServe's default would call it ready regardless."""

    async def healthy(self) -> bool:
        """Ready as long as the decoding thread lives."""
        return bool(self.ready) and self.decoder.alive

    def stop(self) -> None:
        """End the decoding thread."""
        self.ready = False
        self.decoder.stop()

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """V1 ``{"instances": [...], "parameters": {...}}`` or a V2 request with one BYTES tensor: a text per prompt."""
        if isinstance(payload, InferRequest):
            texts = await self._answers(_tensor(payload), _parameters(payload.parameters))
            output = InferOutput(name="output", shape=[len(texts)], datatype="BYTES", data=texts)
            return InferResponse(response_id=payload.id or "", model_name=self.name, infer_outputs=[output])
        if not isinstance(payload, dict) or set(payload) - {"instances", "parameters"}:
            raise Refused(400, "A V1 request has 'instances' and may have 'parameters', nothing else.")
        return {"predictions": await self._answers(_instances(payload), _parameters(payload.get("parameters")))}

    def get_input_types(self) -> list[dict[str, Any]]:
        """V2 metadata: one tensor of prompts."""
        return [{"name": "input", **TENSOR}]

    def get_output_types(self) -> list[dict[str, Any]]:
        """V2 metadata: one tensor of answers."""
        return [{"name": "output", **TENSOR}]

    async def _answers(self, prompts: list[str], settings: SamplingFields) -> list[str]:
        if not 0 < len(prompts) <= self.limits.choices:
            raise Refused(400, f"A request has 1 to {self.limits.choices} prompts, this one has {len(prompts)}.")
        encode = self.encoder.conversation
        tokens = await asyncio.to_thread(lambda: [encode(conversation(prompt)) for prompt in prompts])
        sampling = settings.sampling(self.limits, max(map(len, tokens)), self.encoder.context, PROTOCOL_TOKENS)
        TOKENS.labels("prompt").inc(sum(map(len, tokens)))
        texts = [""] * len(prompts)
        try:
            async for piece in self.decoder.pieces(tokens, sampling):
                texts[piece.index] += piece.text
                TOKENS.labels("completion").inc(piece.tokens if piece.finish_reason else 0)
        except EngineError as error:
            raise Refused(500, str(error)) from error
        return texts


def _instances(payload: dict[str, Any]) -> list[str]:
    instances = payload.get("instances")
    if not isinstance(instances, list):
        raise Refused(400, "'instances' must be a list of prompts.", "instances")
    prompts = [item.get("prompt") if isinstance(item, dict) and len(item) == 1 else item for item in instances]
    return _texts(prompts, "instances", 'a string or {"prompt": a string}')


def _tensor(request: InferRequest) -> list[str]:
    if len(request.inputs) != 1 or request.inputs[0].datatype != "BYTES":
        raise Refused(400, "A V2 request has exactly one input tensor, of datatype BYTES.", "inputs")
    tensor = request.inputs[0]
    if tensor.shape not in ([len(tensor.data)], [len(tensor.data), 1]):
        raise Refused(400, f"The input's shape {tensor.shape} does not fit its {len(tensor.data)} elements.", "inputs")
    data = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in tensor.data]
    return _texts(data, "inputs", "a string")


def _texts(values: list[Any], field: str, wanted: str) -> list[str]:
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise Refused(400, f"{field}[{number}] must be {wanted}.", field)
    return values


def _parameters(parameters: Any) -> SamplingFields:
    return parse(SamplingFields, parameters or {})

"""A reward model with Cohere's architecture, which transformers itself does not offer: a backbone with one score."""

from functools import cache


@cache
def register() -> type:
    """Make ``AutoModelForSequenceClassification`` know ``model_type: cohere``; returns the class."""
    from transformers import AutoModelForSequenceClassification, CohereConfig, CoherePreTrainedModel
    from transformers.modeling_layers import GenericForSequenceClassification

    class CohereForSequenceClassification(GenericForSequenceClassification, CoherePreTrainedModel):  # type: ignore[misc]
        """Cohere with a linear head on the last token that is no padding."""

    # Without exist_ok the registration is silently ignored.
    AutoModelForSequenceClassification.register(CohereConfig, CohereForSequenceClassification, exist_ok=True)
    return CohereForSequenceClassification

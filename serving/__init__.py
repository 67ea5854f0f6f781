"""The predictor: a model folder behind KServe's V1 and V2 protocols and OpenAI's chat and completions."""

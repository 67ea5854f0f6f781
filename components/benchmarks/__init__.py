"""Public benchmarks: the report's data sets, one file each, turned into questions with their few-shot prompts."""

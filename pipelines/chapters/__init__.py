"""The chapters of the pipeline, in the order of the method; each writes its tasks and hands on what it made."""

"""What the chapters have made so far."""

from dataclasses import dataclass, field

from pipelines.graph import Output


@dataclass
class Story:
    """``made`` holds outputs by name; ``ladder`` the models to evaluate, in order; ``drift`` the scored samples
    of the rounds; ``results`` the evaluation of each model of the ladder."""

    made: dict[str, Output] = field(default_factory=dict)
    ladder: dict[str, Output] = field(default_factory=dict)
    drift: list[Output] = field(default_factory=list)
    results: dict[str, Output] = field(default_factory=dict)

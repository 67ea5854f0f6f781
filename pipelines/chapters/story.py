"""What the chapters have made so far."""

from dataclasses import dataclass, field

from pipelines.graph import Channel


@dataclass
class Story:
    """``made`` holds outputs by name; ``ladder`` the models to evaluate, in order; ``drift`` the scored samples
    of the rounds; ``results`` the evaluation of each model of the ladder."""

    made: dict[str, Channel] = field(default_factory=dict)
    ladder: dict[str, Channel] = field(default_factory=dict)
    drift: list[Channel] = field(default_factory=list)
    results: dict[str, Channel] = field(default_factory=dict)

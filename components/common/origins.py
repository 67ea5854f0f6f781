"""What an artifact was fetched from: the exact commits on the hub, read from references that travel without their bytes."""

from components.common.artifacts import Reference
from components.common.hub import PREFIX, split_source
from components.common.inputs import REFERENCE, Inputs

#: The input of a stage that tells where its model comes from; it is taken by reference.
ORIGINS = "origins"


def origins(inputs: Inputs) -> list[str]:
    """ "hf://org/name@commit" of every repository that the artifacts of the input ``origins`` were fetched from, once."""
    found = [source for folder in inputs.get(ORIGINS, []) for source in _commits(Reference.load(folder / REFERENCE))]
    return list(dict.fromkeys(found))


def _commits(reference: Reference) -> list[str]:
    """Weights tell one ``commit``, questions a ``<name>.source`` per data set; what was not fetched tells neither."""
    about = reference.metadata
    if "commit" in about:
        return [f"{PREFIX}{split_source(str(about['source']))[0]}@{about['commit']}"]
    return [str(value) for key, value in about.items() if key.endswith(".source")]

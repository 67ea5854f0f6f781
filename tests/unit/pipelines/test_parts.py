"""Parts of a recipe are found wherever they stand."""

from components.common.endpoints import Endpoint, Served
from pipelines.checks.capacity import Wanted, needs
from pipelines.loading import load_recipe
from pipelines.parts import find_all
from pipelines.resources import Machine


def test_members_of_lists_go_by_their_name():
    recipe = load_recipe("8b")
    assert [path for path, _ in find_all(recipe, Endpoint)] == ["online.check.judge", "evaluation.judge"]
    assert [path for path, _ in find_all(recipe, Served)] == [
        "teachers.gemma-2-27b.served", "teachers.llama-3-1-70b.served", "teachers.qwen-2-5-32b.served",
        "teachers.aya-23-35b.served", "offline.contrast.served", "online.samples.served",
    ]  # fmt: skip
    assert not list(find_all(load_recipe("mini"), Endpoint))


def test_what_a_training_job_takes_of_a_quota():
    wanted = needs(Wanted.by_machine("resources.training", Machine(cpu="500m", memory="2Gi", gpus=4, nodes=3)))
    assert wanted["requests.nvidia.com/gpu"] == 12 and wanted["pods"] == 3
    assert wanted["cpu"] == wanted["limits.cpu"] == wanted["requests.cpu"] == 3 * 0.5
    assert wanted["memory"] == 3 * 2 * 1024**3


def test_what_a_served_model_takes_of_a_quota():
    wanted = needs(Wanted.by_served("teachers.a.served", Served(gpus=2, replicas=4, cpu="8", memory="64Gi")))
    assert wanted["requests.nvidia.com/gpu"] == 8 and wanted["cpu"] == 32 and "ephemeral-storage" not in wanted

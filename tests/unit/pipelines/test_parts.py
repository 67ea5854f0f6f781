"""Parts of a recipe are found wherever they stand."""

from pydantic import BaseModel

from components.common.endpoints import Endpoint, Served
from pipelines.checks.capacity import Wanted, needs
from pipelines.loading import load_recipe
from pipelines.parts import find_all
from pipelines.resources import Machine


class Member(BaseModel):
    name: str
    served: Served | None = None


class Whole(BaseModel):
    pool: list[Member]
    by_key: dict[str, Served]
    endpoints: tuple[Endpoint, ...]


def test_members_of_lists_go_by_their_name_or_number():
    endpoint = Endpoint(url="http://h/v1", model="m")
    whole = Whole(
        pool=[Member(name="a"), Member(name="b", served=Served())], by_key={"c": Served()}, endpoints=(endpoint,)
    )
    assert [path for path, _ in find_all(whole, Served)] == ["pool.b.served", "by_key.c"]
    assert list(find_all(whole, Endpoint)) == [("endpoints.0", endpoint)]


def test_a_recipes_teachers_and_judges_are_among_them():
    recipe = load_recipe("8b")
    assert {"teachers.gemma-2-27b.served", "offline.contrast.served"} <= {path for path, _ in find_all(recipe, Served)}
    assert {"online.check.judge", "evaluation.judge"} <= {path for path, _ in find_all(recipe, Endpoint)}
    assert not list(find_all(load_recipe("mini"), Endpoint))


def test_what_a_training_job_takes_of_a_quota():
    wanted = needs(Wanted.by_machine("resources.training", Machine(cpu="500m", memory="2Gi", gpus=4, nodes=3)))
    assert wanted["requests.nvidia.com/gpu"] == 12 and wanted["pods"] == 3
    assert wanted["cpu"] == wanted["limits.cpu"] == wanted["requests.cpu"] == 3 * 0.5
    assert wanted["memory"] == 3 * 2 * 1024**3


def test_what_a_served_model_takes_of_a_quota():
    wanted = needs(Wanted.by_served("teachers.a.served", Served(gpus=2, replicas=4, cpu="8", memory="64Gi")))
    assert wanted["requests.nvidia.com/gpu"] == 8 and wanted["cpu"] == 32 and "ephemeral-storage" not in wanted

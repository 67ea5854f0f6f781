"""What the shipped recipes name in the cluster is what the chart makes, or asks for, under these names."""

import pytest
import yaml

from components.common.trainjobs import TrainJobSpec
from pipelines.loading import load_recipe
from tests.charts import CHART, EXAMPLES, find, render

VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", VALUES["pipelines"]["recipes"])
def test_the_platform_of_a_recipe_is_there(name):
    platform, objects = load_recipe(name).platform, render()
    assert find(objects, "ServiceAccount", platform.service_account)
    assert platform.data is None or find(objects, "PersistentVolumeClaim", platform.data.claim)
    for variable, source in platform.config_maps.items():
        data = find(objects, "ConfigMap", source.config_map)["data"]
        assert source.optional or source.key in data, variable
    secrets = {VALUES["storage"]["secret"], VALUES["tokens"]["secret"]}
    assert {source.secret for source in platform.secrets.values()} <= secrets


def test_optional_settings_of_a_recipe_are_read_where_they_are_set():
    keys = {key: source for key, source in load_recipe("8b").platform.config_maps.items() if source.optional}
    data = find(render(EXAMPLES["air-gapped"]), "ConfigMap", "expanse-environment")["data"]
    assert {source.key for source in keys.values()} <= data.keys()


@pytest.mark.parametrize("name", ["8b", "32b"])
def test_runtimes_are_those_that_recipes_and_code_name(name):
    from components.common.inference.objects import DEFAULT_RUNTIME, SERVICE_ACCOUNT

    platform, objects = load_recipe(name).platform, render()
    assert find(objects, "ClusterTrainingRuntime", platform.training_runtime)
    assert find(objects, "ServingRuntime", platform.serving_runtime)
    assert find(objects, "ServingRuntime", DEFAULT_RUNTIME)
    assert find(objects, "ServiceAccount", SERVICE_ACCOUNT)
    assert find(objects, "ClusterTrainingRuntime", TrainJobSpec.model_fields["runtime"].default)

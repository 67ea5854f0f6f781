"""The chart's life against a real API: installed, upgraded, rolled back, removed; and what stands in its way."""

import pytest
from kubernetes import client

from tests.charts import CHART, every_value_set, render

#: What is one per cluster stays out of releases here, for the cluster may be somebody's.
ALONE = {"runtimes": {"training": False}}


@pytest.fixture
def helm(kubeconfig, namespace):
    """Helm's actions on the test's namespace."""
    helm_python = pytest.importorskip("helm_python", reason="helm-python-sdk (real Helm) is not installed here")
    config = helm_python.Config(kubeconfig_path=kubeconfig, namespace=namespace)
    yield config
    config.uninstall("expanse", ignore_not_found=True)


def jobs(api, namespace):
    return {each.metadata.name for each in client.BatchV1Api(api).list_namespaced_job(namespace).items}


@every_value_set
def test_the_api_takes_every_object_strictly(apply_strictly, namespace, values):
    left_out = apply_strictly(render(values, namespace), namespace)
    monitored = values.get("monitoring", {}).get("serviceMonitor", False)
    assert left_out == (["ServiceMonitor"] if monitored else [])


def test_a_release_is_installed_upgraded_rolled_back_and_removed(api, helm, namespace):
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    assert helm.install(CHART, "expanse", ALONE, namespace=namespace)["status"] == "deployed"
    assert (
        apps.read_namespaced_deployment("expanse-mlflow", namespace).spec.template.spec.containers[0].name == "mlflow"
    )
    first = jobs(api, namespace)
    assert len(first) == 1

    fewer = {**ALONE, "pipelines": {"recipes": ["mini"]}, "mlflow": {"workers": 3}}
    helm.upgrade(CHART, "expanse", fewer, namespace=namespace)
    second = jobs(api, namespace)
    assert len(second) == 1 and second != first
    arguments = apps.read_namespaced_deployment("expanse-mlflow", namespace).spec.template.spec.containers[0].args
    assert "--workers=3" in arguments

    helm.upgrade(CHART, "expanse", {**fewer, "quota": {"hard": {"pods": "7"}}}, namespace=namespace)
    assert jobs(api, namespace) == second
    assert core.read_namespaced_resource_quota("expanse", namespace).spec.hard["pods"] == "7"

    helm.rollback("expanse", version=1)
    assert jobs(api, namespace) == first

    helm.uninstall("expanse")
    left = core.list_namespaced_persistent_volume_claim(namespace).items
    assert {each.metadata.name for each in left} == {"expanse-data", "expanse-mlflow"}
    assert not apps.list_namespaced_deployment(namespace).items
    assert not client.NetworkingV1Api(api).list_namespaced_network_policy(namespace).items
    assert f"{namespace}-runtime-reader" not in {
        each.metadata.name for each in client.RbacAuthorizationV1Api(api).list_cluster_role().items
    }


def test_an_upgrade_with_bad_values_changes_nothing(api, helm, namespace):
    import helm_python

    helm.install(CHART, "expanse", ALONE, namespace=namespace)
    before = jobs(api, namespace)
    with pytest.raises(helm_python.HelmError, match="/mlflow/workers"):
        helm.upgrade(CHART, "expanse", {**ALONE, "mlflow": {"workers": 0}}, namespace=namespace)
    assert jobs(api, namespace) == before
    assert [each["revision"] for each in helm.list()] == [1]


def test_a_launcher_config_map_of_kfp_is_not_taken_over(api, helm, namespace):
    import helm_python

    core = client.CoreV1Api(api)
    theirs = {"metadata": {"name": "kfp-launcher"}, "data": {"defaultPipelineRoot": "s3://theirs"}}
    core.create_namespaced_config_map(namespace, theirs)
    with pytest.raises(helm_python.HelmError, match="kfp-launcher"):
        helm.install(CHART, "expanse", {**ALONE, "kfp": {"launcher": {"create": True}}}, namespace=namespace)
    assert core.read_namespaced_config_map("kfp-launcher", namespace).data == theirs["data"]


def test_two_teams_live_beside_each_other(api, kubeconfig, helm, namespace):
    import uuid

    import helm_python

    other = f"expanse-test-{uuid.uuid4().hex[:8]}"
    core = client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": other}})
    try:
        helm.install(CHART, "expanse", ALONE, namespace=namespace)
        neighbour = helm_python.Config(kubeconfig_path=kubeconfig, namespace=other)
        assert neighbour.install(CHART, "expanse", ALONE, namespace=other)["status"] == "deployed"
        neighbour.uninstall("expanse")
        assert jobs(api, namespace)
    finally:
        core.delete_namespace(other)

"""The cluster's refusals as sentences."""

import pytest
from kubernetes import client

from components.common import cluster
from components.common.errors import BadInput, Transient


def test_the_namespace_is_the_one_of_the_environment(api, namespace):
    assert cluster.namespace() == namespace


def test_a_missing_object_is_bad_input_that_names_it(api, namespace):
    with (
        pytest.raises(BadInput, match=f'Secret {namespace}/no: secrets "no" not found; create it'),
        cluster.explained(f"Secret {namespace}/no"),
    ):
        client.CoreV1Api(api).read_namespaced_secret("no", namespace)


def test_an_invalid_object_is_bad_input_with_the_field(api, namespace):
    body = {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": {"name": "a"}, "spec": {}}
    with pytest.raises(BadInput, match="runtimeRef"), cluster.explained("TrainJob a"):
        client.CustomObjectsApi(api).create_namespaced_custom_object(
            "trainer.kubeflow.org", "v1alpha1", namespace, "trainjobs", body
        )


def test_a_kind_without_definition_is_bad_input(api, namespace):
    with pytest.raises(BadInput, match="custom resource definition"), cluster.explained("Thing a"):
        client.CustomObjectsApi(api).get_namespaced_custom_object("no.such", "v1", namespace, "things", "a")


def test_an_api_that_is_away_is_transient():
    configuration = client.Configuration(host="http://127.0.0.1:9")
    configuration.retries = False
    with pytest.raises(Transient, match="cannot be reached"), cluster.explained("Namespaces"):
        client.CoreV1Api(client.ApiClient(configuration)).list_namespace()


def test_no_configuration_at_all_says_what_to_set(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="set KUBECONFIG"):
        cluster.connect()

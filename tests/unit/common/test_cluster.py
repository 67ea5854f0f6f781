"""Which refusals of the Kubernetes API may pass by themselves."""

import json

import pytest
from kubernetes.client import ApiException

from components.common.cluster import explain
from components.common.errors import BadInput, Transient


def refusal(status, message):
    error = ApiException(status=status, reason="Because")
    error.body = json.dumps({"kind": "Status", "message": message})
    return error


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (403, 'trainjobs is forbidden: User "a" cannot create', BadInput, "give the service account the role"),
        (403, "pods is forbidden: exceeded quota: gpus, requested: 8, used: 8, limited: 8", Transient, "quota raised"),
        (401, "Unauthorized", BadInput, "renew the credentials"),
        (422, "spec.nodes: Invalid value", BadInput, "correct the field"),
        (409, "the object has been modified", Transient, "try again"),
        (503, "apiserver not ready", Transient, "try again"),
    ],
)
def test_a_refusal_is_told_with_the_object_and_the_remedy(status, message, kind, words):
    error = explain("TrainJob team/sft", refusal(status, message))
    assert type(error) is kind
    assert str(error).startswith("TrainJob team/sft: ")
    assert message in str(error)
    assert words in str(error)


def test_a_body_that_is_no_json_is_told_as_it_is():
    error = ApiException(status=502)
    error.body = b"<html>bad  gateway</html>"
    assert "<html>bad gateway</html>" in str(explain("Pod a", error))

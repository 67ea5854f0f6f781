"""Who may reach whom under the rendered network policies, decided as Kubernetes decides it."""

import ipaddress
from dataclasses import dataclass, field

import pytest

from tests.charts import VALUE_SETS, every_value_set, render

METADATA = ("169.254.169.254", "100.100.100.200", "fd00:ec2::254")
OURS, KFP, DNS, PUBLIC = "expanse", "kubeflow", "kube-system", "203.0.113.9"
PRODUCT = {"app.kubernetes.io/part-of": "expanse"}


@dataclass(frozen=True)
class Peer:
    """A pod by its namespace and labels, or an address outside."""

    namespace: str = ""
    labels: dict = field(default_factory=dict)
    address: str = ""


def component(name):
    return Peer(OURS, {"app.kubernetes.io/name": f"expanse-{name}", "app.kubernetes.io/component": name, **PRODUCT})


STEP = Peer(OURS, {"workflows.argoproj.io/workflow": "run", **PRODUCT})
TRAINER = Peer(OURS, {"jobset.sigs.k8s.io/jobset-name": "sft", **PRODUCT})
MODEL = Peer(OURS, {"serving.kserve.io/inferenceservice": "aya", **PRODUCT})
MLFLOW, UPLOAD, CHECK = component("mlflow"), component("upload"), component("check")
STRANGER = Peer(OURS, {"app": "notebook"})
KFP_POD, GATEWAY, PROMETHEUS = Peer(KFP), Peer("istio-system"), Peer("monitoring")
ELSEWHERE, NAME_SERVER = Peer("default"), Peer(DNS)


def selects(selector, labels):
    matched = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "Exists"
        matched = matched and each["key"] in labels
    return matched


def is_peer(rule, peer):
    if "ipBlock" in rule:
        block = rule["ipBlock"]
        address = ipaddress.ip_address(peer.address or "198.51.100.1")
        inside = address in ipaddress.ip_network(block["cidr"])
        return (
            bool(peer.address)
            and inside
            and not any(address in ipaddress.ip_network(each) for each in block.get("except", []))
        )
    if peer.address:
        return False
    if "namespaceSelector" in rule:
        assert set(rule) == {"namespaceSelector"}
        return selects(rule["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace})
    return peer.namespace == OURS and selects(rule["podSelector"], peer.labels)


def one_way(policies, pod, peer, port, direction, protocol="TCP"):
    """Whether the policies about ``pod`` let traffic with ``peer`` pass in this direction."""
    mine = [
        each["spec"]
        for each in policies
        if direction in each["spec"]["policyTypes"] and selects(each["spec"]["podSelector"], pod.labels)
    ]
    rules = [rule for spec in mine for rule in spec.get(direction.lower(), [])]
    key, wanted = ("to" if direction == "Egress" else "from"), (port, protocol)
    return not mine or any(
        any(is_peer(each, peer) for each in rule[key])
        and ("ports" not in rule or wanted in [(each["port"], each["protocol"]) for each in rule["ports"]])
        for rule in rules
    )


def reaches(policies, source, target, port):
    """Whether a connection comes through: out of its source and into its target, where each is a pod of ours."""
    out = source.namespace != OURS or one_way(policies, source, target, port, "Egress")
    return out and (target.namespace != OURS or one_way(policies, target, source, port, "Ingress"))


def policies(values=None):
    return [each for each in render(values) if each["kind"] == "NetworkPolicy"]


OPEN = [
    (STEP, MLFLOW, 5000),
    (TRAINER, MLFLOW, 5000),
    (CHECK, MLFLOW, 5000),
    (KFP_POD, MLFLOW, 5000),
    (STEP, MODEL, 8080),
    (GATEWAY, MODEL, 8080),
    (PROMETHEUS, MODEL, 8080),
    (TRAINER, TRAINER, 29500),
    (TRAINER, TRAINER, 41234),
    (STEP, KFP_POD, 8888),
    (STEP, KFP_POD, 8333),
    (UPLOAD, KFP_POD, 8888),
    (CHECK, KFP_POD, 8888),
    (STEP, Peer(address=PUBLIC), 443),
    (TRAINER, Peer(address=PUBLIC), 443),
    (MODEL, Peer(address=PUBLIC), 443),
    (STEP, Peer(address="10.96.0.1"), 443),
    (STEP, Peer(address="10.0.0.5"), 6443),
]
CLOSED = [
    (STRANGER, MLFLOW, 5000),
    (STRANGER, MODEL, 8080),
    (STRANGER, Peer(address=PUBLIC), 443),
    (ELSEWHERE, MLFLOW, 5000),
    (ELSEWHERE, MODEL, 8080),
    (ELSEWHERE, STEP, 8080),
    (ELSEWHERE, TRAINER, 29500),
    (STEP, TRAINER, 29500),
    (MODEL, MLFLOW, 5000),
    (MODEL, STEP, 8080),
    (MODEL, KFP_POD, 8888),
    (MODEL, Peer(address="10.0.0.5"), 6443),
    (TRAINER, Peer(address="10.0.0.5"), 6443),
    (TRAINER, MODEL, 8080),
    (MLFLOW, Peer(address=PUBLIC), 443),
    (UPLOAD, Peer(address=PUBLIC), 443),
    (UPLOAD, MLFLOW, 5000),
    (UPLOAD, KFP_POD, 8080),
    (CHECK, KFP_POD, 8333),
    (PROMETHEUS, MLFLOW, 5000),
    (GATEWAY, MODEL, 22),
    (STEP, Peer(address=PUBLIC), 80),
    (STEP, ELSEWHERE, 443),
]


@pytest.mark.parametrize(("source", "target", "port"), OPEN)
def test_what_is_needed_is_open(source, target, port):
    assert reaches(policies(), source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), CLOSED)
def test_everything_else_is_closed(source, target, port):
    assert not reaches(policies(), source, target, port)
    assert reaches([], source, target, port)  # it is the policies that close it


@pytest.mark.parametrize("pod", [STEP, TRAINER, MODEL, MLFLOW, UPLOAD, CHECK, STRANGER])
def test_names_resolve_everywhere(pod):
    for protocol in ("UDP", "TCP"):
        assert one_way(policies(), pod, NAME_SERVER, 53, "Egress", protocol)
    assert not one_way(policies(), pod, NAME_SERVER, 443, "Egress")


@every_value_set
def test_no_pod_reaches_the_cloud_metadata_service(values):
    for policy in policies(values):
        for rule in policy["spec"].get("egress", []):
            for peer in rule["to"]:
                for address in METADATA:
                    assert not ("ipBlock" in peer and is_peer(peer, Peer(address=address))), policy["metadata"]["name"]


@every_value_set
def test_no_rule_is_open_to_all_by_being_empty(values):
    for policy in policies(values):
        for key, word in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(key, []):
                assert rule[word], policy["metadata"]["name"]
                assert all(rule[word]), policy["metadata"]["name"]


def test_air_gapped_means_no_way_out():
    closed = policies(VALUE_SETS["air-gapped"])
    for pod in (STEP, TRAINER, MODEL, MLFLOW, UPLOAD, CHECK, STRANGER):
        for port in (80, 443, 8080):
            assert not one_way(closed, pod, Peer(address=PUBLIC), port, "Egress")
    for pod in (STEP, TRAINER, MODEL, MLFLOW):
        assert one_way(closed, pod, Peer("storage"), 9000, "Egress")


def test_the_database_is_open_to_mlflow_alone():
    gpu = policies(VALUE_SETS["gpu"])
    assert one_way(gpu, MLFLOW, Peer("databases"), 5432, "Egress")
    assert not any(one_way(gpu, pod, Peer("databases"), 5432, "Egress") for pod in (STEP, TRAINER, MODEL, UPLOAD))


def test_a_shared_namespace_keeps_the_pods_of_others_as_they_were():
    shared = policies(VALUE_SETS["shared-namespace"])
    other_run = Peer(OURS, {"workflows.argoproj.io/workflow": "of-someone-else"})
    for other in (STRANGER, other_run):
        assert one_way(shared, other, Peer(address=PUBLIC), 22, "Egress")
        assert one_way(shared, other, ELSEWHERE, 22, "Ingress")
        assert not reaches(shared, other, MLFLOW, 5000)
    for source, target, port in OPEN:
        assert reaches(shared, source, target, port), (source, target, port)


def test_kfp_outside_the_cluster_is_open_to_what_calls_its_api():
    outside = policies({"kfp": {"cidrs": ["198.51.100.7/32"], "apiPort": 443, "host": "https://kfp.example.com"}})
    for pod in (STEP, UPLOAD, CHECK):
        assert one_way(outside, pod, Peer(address="198.51.100.7"), 443, "Egress")
    assert not one_way(outside, UPLOAD, Peer(address=PUBLIC), 443, "Egress")


def test_ipv6_addresses_can_be_opened_too():
    wide = policies({"networkPolicies": {"storage": {"cidrs": ["0.0.0.0/0", "::/0"]}}})
    assert one_way(wide, STEP, Peer(address="2001:db8::1"), 443, "Egress")
    assert not one_way(wide, STEP, Peer(address="fd00:ec2::254"), 443, "Egress")

"""Deploy and roll back by command: API, registry and predictor are real, the statuses are the test's."""

import json
import shutil
import threading

import pytest

from components.common.artifacts import Reference
from components.common.errors import BadInput, Transient
from components.common.inference import Patience
from components.common.inference.services import Services
from components.common.inputs import REFERENCE
from components.common.mlflow_client import connect
from components.common.releases.versions import MODEL, VERDICT
from components.deployment.record import BY, UNPROVEN, annotations_of, served, uri_of
from components.deployment.task import Config, run
from components.promotion.lease import cluster_lease
from components.promotion.releasing import Registry
from pipelines.cli import main
from tests.cluster.kserve import READY, Controller, listed, not_ready, until
from tests.servers import NAME

REGISTERED = "aya"
QUICK = Patience(poll=0.05, failing=0.2, gone=5)
RECIPE = """
extends: 8b
name: {name}
deployment:
  name: tiny
  max_tokens: 4
  served: {{gpus: 0, cpu: "{cpu}", memory: 4Gi, replicas: 1, ready_minutes: 10}}
"""
FAILURE = {"reason": "ModelLoadFailed", "message": "weights are cut", "exitCode": 1}


@pytest.fixture
def registry(tmp_path, schema, monkeypatch):
    """Three versions that passed; the first is the champion."""
    uri = f"sqlite:///{shutil.copy(schema, tmp_path / 'mlflow.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = connect(uri)
    client.create_registered_model(REGISTERED)
    for number in (1, 2, 3):
        tags = {MODEL: f"digest {number}", VERDICT: "passed"}
        client.create_model_version(REGISTERED, f"s3://models/{number}", None, tags, await_creation_for=0)
    assert main(["promote", "--model", REGISTERED, "--version", "1"]) == 0
    return Registry(uri, REGISTERED, "champion")


@pytest.fixture
def services(api, namespace, monkeypatch):
    monkeypatch.delenv("EXPANSE_RUN", raising=False)
    monkeypatch.setattr("pipelines.releasing.reaching.PATIENCE", QUICK)
    return Services(api, namespace)


@pytest.fixture
def recipes(tmp_path):
    for name, cpu in (("small", "1"), ("large", "2")):
        (tmp_path / f"{name}.yaml").write_text(RECIPE.format(name=name, cpu=cpu))
    return tmp_path


def command(name, *more):
    return main([name, "--model", REGISTERED, *map(str, more)])


def serves(services):
    (service,) = listed(services)
    return uri_of(service)


def refuses(uri):
    """A cluster in which the model at ``uri`` never gets ready."""
    bad = not_ready("x", transitionStatus="BlockedByFailedLoad", lastFailureInfo=FAILURE)
    return lambda service: bad if uri_of(service) == uri else READY


@pytest.fixture
def released(services, registry, recipes, predictor):
    """Version 1 on a small service, then version 2 on a large one: what happens in the weeks before a rollback."""
    with Controller(services) as controller:
        assert command("deploy", "--recipe", recipes / "small.yaml", "--address", predictor) == 0
        first = listed(services)[0]
        assert command("promote", "--version", "2") == 0
        assert command("deploy", "--recipe", recipes / "large.yaml", "--address", predictor) == 0
        assert serves(services) == "s3://models/2"
        controller.seen.clear()
        yield first, controller


def test_a_rollback_makes_alias_and_service_what_they_were(services, registry, released, predictor, capsys):
    first, controller = released
    capsys.readouterr()
    assert command("rollback", "--address", predictor, "--reason", "it answers in French") == 0
    told = capsys.readouterr().out
    (now,) = listed(services)
    assert now["spec"] == first["spec"] and now["metadata"]["uid"] == first["metadata"]["uid"]
    assert now["spec"]["predictor"]["model"]["resources"]["limits"]["cpu"] == "1"
    assert all(each["spec"]["predictor"]["deploymentStrategy"]["rollingUpdate"]["maxUnavailable"] == 0
               for each in controller.seen)  # fmt: skip
    assert [each.version for each in served(now)] == ["aya/1", "aya/2", "aya/1"]
    for words in ("champion of aya: version 2 -> version 1 (s3://models/1).", "version 2 -> version 1; its present pods",
                  f"answers as version 1 at {predictor}/openai/v1 (6 exchanges)."):  # fmt: skip
        assert words in told
    where = f"{services.namespace}/tiny"
    events = [(each.what, each.where, each.before, each.version) for each in registry.read().history]
    assert events == [
        ("promoted", "champion", "", "1"), ("deployed", where, "", "1"), ("promoted", "champion", "1", "2"),
        ("deployed", where, "1", "2"), ("rolled back", "champion", "2", "1"), ("deployed", where, "2", "1"),
    ]  # fmt: skip
    assert command("history") == 0 and "it answers in French" in capsys.readouterr().out


def test_a_rollback_whose_service_does_not_follow_goes_on_when_it_is_repeated(
    services, registry, released, predictor, capsys
):
    _, controller = released
    controller.verdict = refuses("s3://models/1")
    assert command("rollback", "--address", predictor) == 3
    said = capsys.readouterr().err
    assert "weights are cut" in said and "is rolled back to the model before" in said
    assert "champion is on version 1; the same command tries its service again" in said
    assert serves(services) == "s3://models/2" and registry.read().current == "1"
    controller.verdict = lambda service: READY
    assert command("rollback", "--address", predictor) == 0
    assert serves(services) == "s3://models/1" and registry.read().current == "1"
    assert command("rollback", "--address", predictor) == 2
    assert "Nothing was champion of aya before version 1" in capsys.readouterr().err


def test_a_rollback_that_was_killed_while_its_service_changed_goes_on(
    services, registry, released, predictor, monkeypatch
):
    assert command("promote", "--version", 3) == 0 and command("deploy", "--address", predictor) == 0
    with monkeypatch.context() as patch:
        patch.setattr("components.deployment.releasing.probe", interrupted)
        assert command("rollback", "--address", predictor) == 130
    assert serves(services) == "s3://models/2" and UNPROVEN in annotations_of(listed(services)[0])
    assert command("rollback", "--address", predictor) == 0
    assert registry.read().current == "2" and serves(services) == "s3://models/2"
    assert UNPROVEN not in annotations_of(listed(services)[0])
    assert command("rollback", "--address", predictor) == 0 and serves(services) == "s3://models/1"


def interrupted(*_):
    raise KeyboardInterrupt  # what a kill leaves behind: nothing after this line runs


def test_a_version_that_no_pod_can_read_is_refused_before_anything_changes(services, registry, released, capsys):
    client = connect(registry.tracking_uri)
    client.create_model_version(REGISTERED, "mlflow-artifacts:/4", None, {VERDICT: "passed"}, await_creation_for=0)
    assert command("deploy", "--version", 4, "--no-probes") == 2
    assert (
        "mlflow-artifacts:/4 cannot be read by a pod" in capsys.readouterr().err and serves(services) == "s3://models/2"
    )


def test_a_version_that_never_was_deployed_gets_the_present_settings(services, released, predictor):
    assert command("promote", "--version", "3") == 0
    assert command("deploy", "--address", predictor, "--dry-run") == 0 and serves(services) == "s3://models/2"
    assert command("deploy", "--address", predictor) == 0 and serves(services) == "s3://models/3"
    (service,) = listed(services)
    assert service["spec"]["predictor"]["model"]["resources"]["limits"]["cpu"] == "2"
    assert command("rollback", "--to", 1, "--address", predictor) == 0 and serves(services) == "s3://models/1"


def test_what_cannot_be_asked_from_here_is_refused_before_anything_changes(services, registry, released, capsys):
    before = listed(services)[0]["metadata"]["resourceVersion"]
    assert command("rollback", "--address", "http://127.0.0.1:9") == 2
    assert "cannot be probed from this machine" in (said := capsys.readouterr().err) and "--no-probes" in said
    assert command("rollback", "--dry-run", "--no-probes") == 0
    assert "Nothing was changed (--dry-run)." in capsys.readouterr().out
    assert listed(services)[0]["metadata"]["resourceVersion"] == before and registry.read().current == "2"
    assert command("rollback", "--no-probes") == 0 and serves(services) == "s3://models/1"
    assert "is ready with version 1; it was not asked anything" in capsys.readouterr().out


def test_a_run_does_not_undo_a_rollback(services, released, tmp_path):
    assert command("rollback", "--no-probes") == 0
    for name in ("model", "registration", "output"):
        (tmp_path / name).mkdir()
    Reference("merging", "k", "s3://models/2", "digest 2", 1).save(tmp_path / "model" / REFERENCE)
    document = {"registered": True, "name": REGISTERED, "alias": "champion", "version": "2", "reason": ""}
    (tmp_path / "registration" / "registration.json").write_text(json.dumps(document))
    inputs = {name: [tmp_path / name] for name in ("model", "registration")}
    config = Config(mode="kserve", name=NAME, probes=[{"language": "en", "prompt": "hello"}], served={"gpus": 0})
    assert run(config, inputs, tmp_path / "output")["deployed"] == 0
    written = json.loads((tmp_path / "output" / "deployment.json").read_text())
    assert "champion of aya is on version 1 and no longer on version 2" in written["reason"]
    assert serves(services) == "s3://models/1"


def test_of_two_that_deploy_at_once_the_later_one_counts(services, released, predictor, capsys):
    _, controller = released
    assert command("promote", "--version", "3") == 0
    controller.verdict = lambda service: None if uri_of(service) == "s3://models/3" else READY
    codes = []
    earlier = threading.Thread(target=lambda: codes.append(_quietly("deploy", "--address", predictor)))
    earlier.start()
    until(lambda: serves(services) == "s3://models/3", seconds=300)
    assert command("rollback", "--no-probes") == 0
    earlier.join(300)
    assert codes == [BadInput] and serves(services) == "s3://models/2"
    assert BY not in str(served(listed(services)[0])[0].spec)


def _quietly(*arguments):
    """The error of a command, from a thread: signal handlers are the main thread's."""
    from pipelines.cli import parser

    options = parser().parse_args([arguments[0], "--model", REGISTERED, *arguments[1:]])
    try:
        options.execute(options)
    except (BadInput, Transient) as error:
        return type(error)


def test_deploy_says_what_it_needs(services, registry, capsys):
    assert command("deploy") == 2 and "serve aya are: none" in capsys.readouterr().err
    assert command("deploy", "--name", "tiny") == 2 and "name a recipe whose deployment says" in capsys.readouterr().err
    assert command("deploy", "--version", 9) == 2 and "has no version 9" in capsys.readouterr().err
    client = connect(registry.tracking_uri)
    client.set_model_version_tag(REGISTERED, "3", VERDICT, "The gate did not pass: too short.")
    assert command("deploy", "--version", 3, "--recipe", "8b") == 2
    assert "may not be deployed: The gate did not pass: too short; choose" in capsys.readouterr().err


def test_the_alias_alone_can_be_rolled_back(services, registry, released):
    assert command("rollback", "--alias-only") == 0
    assert registry.read().current == "1" and serves(services) == "s3://models/2"


def test_the_lease_is_one_for_all_of_a_namespace(api, namespace):
    from kubernetes.client import CoordinationV1Api

    leases = CoordinationV1Api(api)
    second = cluster_lease(leases, namespace, REGISTERED, patience=0.1)
    refused = pytest.raises(Transient, match="stays held by another promotion")
    with cluster_lease(leases, namespace, REGISTERED), refused, second:
        pass
    with cluster_lease(leases, namespace, REGISTERED, patience=0.1):
        pass

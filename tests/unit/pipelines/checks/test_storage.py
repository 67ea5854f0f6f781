"""The store on a real folder and on an S3 service on loopback."""

import itertools

import pytest

from components.common.errors import BadInput, Transient
from pipelines.checks.storage import environment_store_checks, look, store_checks
from pipelines.loading import load_recipe
from tests import s3

COUNT = itertools.count()


@pytest.fixture(scope="module")
def moto_address():
    with s3.moto() as address:
        yield address


@pytest.fixture
def service(moto_address, monkeypatch):
    with s3.proxy(moto_address) as proxied:
        s3.use(proxied, monkeypatch)
        yield proxied


@pytest.fixture
def bucket(service):
    name = f"checked-{next(COUNT)}"
    service.client().create_bucket(Bucket=name)
    return name


def test_a_bucket_that_can_be_written_is_fine_and_left_as_it_was(service, bucket):
    found = look(f"s3://{bucket}/team/store")
    assert found.status == "ok" and "honours conditional writes" in found.sentence
    assert "Contents" not in service.client().list_objects_v2(Bucket=bucket)


def test_a_bucket_that_is_not_there(service):
    with pytest.raises(BadInput, match="There is no bucket 'no-such-bucket'; create it"):
        look("s3://no-such-bucket/store")


def test_a_service_that_ignores_conditions_is_refused(service, bucket):
    service.dropped.add("if-none-match")
    with pytest.raises(BadInput, match="two attempts at one step could both count"):
        look(f"s3://{bucket}/store")
    assert "Contents" not in service.client().list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ((403, "AccessDenied"), BadInput, "access is denied"),
        ((400, "ExpiredToken"), BadInput, "have expired .*renew"),
        ((403, "InvalidAccessKeyId"), BadInput, "are not accepted"),
        ((503, "SlowDown"), Transient, "cannot be reached .*try again"),
        (s3.RESET, Transient, "cannot be reached .*try again"),
    ],
)
def test_refusals_and_faults_of_a_write(service, bucket, fault, error, words):
    service.faults.append(s3.Fault(fault, lambda request: request.method == "PUT", times=10))
    with pytest.raises(error, match=words) as raised:
        look(f"s3://{bucket}/store")
    assert " times" not in str(raised.value) and "secret" not in str(raised.value).replace("Secret", "")


def test_without_credentials_the_clusters_are_not_guessed(monkeypatch, nobody):
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    secrets = "platform.secrets={AWS_ACCESS_KEY_ID: {secret: expanse-s3, key: AWS_ACCESS_KEY_ID}}"
    (check,) = store_checks(load_recipe("mini", [secrets, "platform.config_maps={}", "platform.store=s3://bucket/x"]))
    assert check.look().status == "skipped"
    with pytest.raises(BadInput, match="no credentials for the bucket 'bucket'"):
        look("s3://bucket/x")


def test_a_folder_is_written_and_left_empty(tmp_path):
    assert look((tmp_path / "store").as_uri()).status == "ok"
    assert list((tmp_path / "store").iterdir()) == []
    with pytest.raises(Transient, match="Cannot write to /proc"):
        look("file:///proc/expanse")


def test_the_recipes_store_comes_before_the_environments(monkeypatch, tmp_path):
    monkeypatch.setenv("EXPANSE_STORE", (tmp_path / "own").as_uri())
    (own,) = environment_store_checks()
    assert str(tmp_path / "own") in own.look().sentence
    monkeypatch.delenv("EXPANSE_STORE")
    (none,) = store_checks(load_recipe("mini", ["platform.config_maps={}"]))
    assert none.look().sentence == "not configured"
    (elsewhere,) = store_checks(load_recipe("8b"))
    assert "ConfigMap expanse-environment" in elsewhere.look().sentence and elsewhere.look().status == "skipped"

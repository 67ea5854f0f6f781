import itertools
from contextlib import ExitStack

import pytest

from tests import s3
from tests.site import site

COUNT = itertools.count()


@pytest.fixture(scope="session")
def moto_address():
    with s3.moto() as address:
        yield address


@pytest.fixture
def service(moto_address, monkeypatch, tmp_path):
    """An S3 service of this test's own, which the environment names; waits between attempts are short."""
    with ExitStack() as stack:
        proxied = stack.enter_context(s3.proxy(moto_address))
        s3.use(proxied, monkeypatch)
        monkeypatch.setenv("EXPANSE_SCRATCH", str(tmp_path / "scratch"))
        monkeypatch.setattr("components.common.s3_client.PAUSE", 0.001)
        yield proxied


@pytest.fixture
def root(service):
    """The address of an empty store."""
    bucket = f"bucket-{next(COUNT)}"
    service.client().create_bucket(Bucket=bucket)
    service.requests.clear()
    return f"s3://{bucket}/team/store"


@pytest.fixture
def hub(monkeypatch):
    """A hub on loopback, empty and without a token; tests.hub publishes there."""
    with site() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running

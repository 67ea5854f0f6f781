import pytest

from tests.kfp_server import Kfp


@pytest.fixture
def kfp():
    server = Kfp()
    yield server
    server.stop()

from pathlib import Path

import pytest

from components.common.mlflow_client import connect


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, made once: its schema takes longer than most tests."""
    path = tmp_path_factory.mktemp("schema") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path

"""Promotions by hand, the history and the way back, on a real MLflow registry, through the commands."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from components.common.errors import BadInput
from components.common.mlflow_client import connect
from components.common.releases.versions import VERDICT
from components.promotion.releasing import Registry, move_back, way_back
from pipelines.cli import main

MODEL = "expanse-mini"
FAILED = "The gate did not pass: The win rate on arena is 0.4; at least 0.5 is asked for."


def versions(uri: str, *verdicts: str) -> None:
    """A registered model whose versions have these verdicts; none where one is empty."""
    client = connect(uri)
    client.create_registered_model(MODEL)
    for number, verdict in enumerate(verdicts, 1):
        tags = {"expanse.model": f"digest {number}"} | ({VERDICT: verdict} if verdict else {})
        client.create_model_version(MODEL, f"s3://models/{number}", None, tags, await_creation_for=0)


def champion(uri: str) -> int:
    return int(connect(uri).get_registered_model(MODEL).aliases.get("champion", 0))


def promote(*more: str) -> int:
    return main(["promote", "--model", MODEL, *more])


def history(uri: str) -> list[tuple[str, str, str]]:
    return [(each.what, each.before, each.version) for each in Registry(uri, MODEL, "champion").read().history]


def roll_back(uri: str, to: str | None = None, reason: str = "") -> str:
    registry = Registry(uri, MODEL, "champion")
    planned = registry.read()
    return move_back(registry, planned, way_back(planned, to), reason)


def test_the_newest_version_that_passed_gets_the_alias(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    versions(uri, "passed", "passed", FAILED, "")
    assert promote("--dry-run") == 0 and champion(uri) == 0 and history(uri) == []
    assert promote("--reason", "Monday's release") == 0 and champion(uri) == 2
    assert "champion of expanse-mini: version none -> version 2 (s3://models/2)." in capsys.readouterr().out
    assert promote() == 0 and history(uri) == [("promoted", "", "2")]
    assert "already is version 2" in capsys.readouterr().out


def test_what_has_not_passed_is_refused_with_its_reasons(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    versions(uri, FAILED, "")
    assert promote() == 2
    assert "No version of expanse-mini has passed its gate; the latest, version 2: No gate" in capsys.readouterr().err
    assert promote("--version", "1") == 2
    assert "The win rate on arena is 0.4; at least 0.5 is asked for" in capsys.readouterr().err
    assert promote("--version", "9") == 2
    assert "has no version 9; the registry holds: 1, 2." in capsys.readouterr().err
    assert champion(uri) == 0 and history(uri) == []


def test_a_forced_promotion_says_why_in_the_history(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    versions(uri, FAILED)
    assert promote("--version", "1", "--force", "the judge was away") == 0 and champion(uri) == 1
    capsys.readouterr()
    assert main(["history", "--model", MODEL]) == 0
    shown = capsys.readouterr().out
    assert "forced: the judge was away (the gate: The gate did not pass: The win rate" in shown
    assert "@" in shown and shown.endswith("champion of expanse-mini is on version 1.\n")
    assert main(["history", "--model", MODEL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "1"


def test_going_back_is_no_promotion(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    versions(uri, "passed", "passed")
    assert promote() == 0 and promote("--version", "1") == 2 and champion(uri) == 2
    assert "expanse rollback --model expanse-mini --to 1" in capsys.readouterr().err


def test_a_second_rollback_goes_further_back_and_not_forth_again(uri: str) -> None:
    versions(uri, "passed", "passed", "passed")
    for number in "123":
        assert promote("--version", number) == 0
    roll_back(uri)
    roll_back(uri, reason="worse")
    assert champion(uri) == 1
    with pytest.raises(BadInput, match=r"Nothing was champion .* before version 1"):
        roll_back(uri)


def test_what_was_rolled_back_is_promoted_again_only_by_its_number(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    versions(uri, "passed", "passed")
    assert promote("--version", "1") == 0 and promote() == 0
    roll_back(uri, reason="it repeats itself")
    assert promote() == 2 and champion(uri) == 1
    assert "it repeats itself" in capsys.readouterr().err
    assert promote("--version", "2") == 0 and champion(uri) == 2
    assert roll_back(uri) and champion(uri) == 1


def test_a_rollback_passes_over_versions_that_were_deleted_or_never_served(uri: str) -> None:
    versions(uri, "passed", "passed", FAILED, "passed")
    for number in "124":
        assert promote("--version", number) == 0
    connect(uri).delete_model_version(MODEL, "2")
    roll_back(uri)
    assert champion(uri) == 1
    assert promote("--version", "4") == 0
    with pytest.raises(BadInput, match=r"Version 3 .* never was champion, and may not become it: .*arena is 0.4"):
        roll_back(uri, "3")
    with pytest.raises(BadInput, match="going forth is a promotion"):
        roll_back(uri, "1") and roll_back(uri, "4")


def test_two_who_roll_back_at_once_go_back_one_version(uri: str) -> None:
    versions(uri, "passed", "passed", "passed")
    for number in "123":
        assert promote("--version", number) == 0
    registry = Registry(uri, MODEL, "champion")
    both = [registry.read(), registry.read()]
    sentences = [move_back(registry, planned, way_back(planned), "") for planned in both]
    assert champion(uri) == 2 and "already is version 2" in sentences[1]
    late = registry.read()
    assert promote("--version", "3") == 0
    with pytest.raises(BadInput, match="was moved from version 2 to 3 meanwhile"):
        move_back(registry, late, way_back(late), "")


def test_a_move_by_other_means_is_noted_and_can_be_rolled_back(uri: str) -> None:
    versions(uri, "passed", "passed", "passed")
    assert promote("--version", "1") == 0
    connect(uri).set_registered_model_alias(MODEL, "champion", "2")
    assert promote() == 0
    assert history(uri) == [("promoted", "", "1"), ("found", "1", "2"), ("promoted", "2", "3")]
    roll_back(uri)
    assert champion(uri) == 2
    client = connect(uri)
    client.set_registered_model_tag(MODEL, "expanse.history.000009-x", "edited by hand")
    assert [each.what for each in Registry(uri, MODEL, "champion").read().history][-1] == "unreadable"
    roll_back(uri)
    assert champion(uri) == 1


KILLED = """
import os, sys
from mlflow import MlflowClient
from pipelines.cli import main
usual = getattr(MlflowClient, sys.argv[1])
def killed(*arguments, **more):
    if sys.argv[2] == "after":
        usual(*arguments, **more)
    os._exit(9)
setattr(MlflowClient, sys.argv[1], killed)
main(["promote", "--model", "expanse-mini"])
"""


@pytest.mark.parametrize(
    ("call", "when"),
    [
        ("set_registered_model_tag", "before"),
        ("set_registered_model_tag", "after"),
        ("set_registered_model_alias", "before"),
        ("set_registered_model_alias", "after"),
    ],
)
def test_a_kill_anywhere_in_a_promotion_leaves_a_true_history(uri: str, call: str, when: str) -> None:
    versions(uri, "passed")
    assert subprocess.run([sys.executable, "-c", KILLED, call, when]).returncode == 9
    done = champion(uri) == 1
    assert done == ((call, when) == ("set_registered_model_alias", "after"))
    assert history(uri) == ([("promoted", "", "1")] if done else [])
    assert promote() == 0 and champion(uri) == 1 and history(uri) == [("promoted", "", "1")]
    client = connect(uri)
    client.create_model_version(MODEL, "s3://models/2", None, {VERDICT: "passed"}, await_creation_for=0)
    assert promote() == 0 and history(uri) == [("promoted", "", "1"), ("promoted", "1", "2")]


def _promote(number: int, barrier: Barrier, codes: "multiprocessing.SimpleQueue[tuple[int, int]]") -> None:
    barrier.wait()
    codes.put((number, promote("--version", str(number))))


def test_a_hundred_promotions_at_once_end_with_the_right_alias_and_the_whole_history(uri: str) -> None:
    versions(uri, *["passed"] * 100)
    context = multiprocessing.get_context("forkserver")
    stores = ["mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"]
    context.set_forkserver_preload([*stores, "alembic.command", __name__])
    barrier, codes = context.Barrier(100), context.SimpleQueue()
    processes = [context.Process(target=_promote, args=(number, barrier, codes)) for number in range(1, 101)]
    for process in processes:
        process.start()
    ended = dict(codes.get() for _ in processes)
    for process in processes:
        process.join(60)
    assert champion(uri) == 100 and ended[100] == 0 and set(ended.values()) <= {0, 2}
    promoted = [number for number, code in ended.items() if code == 0]
    moves = history(uri)
    assert sorted(int(version) for _, _, version in moves) == sorted(promoted)
    assert [before for _, before, _ in moves] == ["", *(version for _, _, version in moves[:-1])]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> "tuple[str, subprocess.Popen[bytes]]":
    """A real MLflow server on loopback."""
    import socket

    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder / 'db'}"]
    command += ["--default-artifact-root", str(folder), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 180
    import httpx

    while True:
        try:
            if httpx.get(f"{address}/health", trust_env=False).is_success:
                break
        except httpx.HTTPError:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.1)
    yield address, process
    if process.poll() is None:
        os.killpg(process.pid, 15)
        process.wait(60)


def test_over_a_server_and_without_it(
    server: "tuple[str, subprocess.Popen[bytes]]", uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    address, process = server
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert promote() == 2 and "no registered model 'expanse-mini'" in capsys.readouterr().err
    versions(address, "passed", "passed")
    assert promote("--version", "1") == 0 and promote() == 0 and champion(address) == 2
    roll_back(address)
    assert champion(address) == 1
    assert history(address) == [("promoted", "", "1"), ("promoted", "1", "2"), ("rolled back", "2", "1")]
    os.killpg(process.pid, 9)
    process.wait(60)
    capsys.readouterr()
    for arguments in (["promote", "--version", "2"], ["promote", "--dry-run"], ["history"], ["rollback"], ["deploy"]):
        assert main([arguments[0], "--model", MODEL, *arguments[1:]]) == 3
        assert capsys.readouterr().err.count("\n") == 1


def test_without_a_registry_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["promote", "--model", MODEL, "--root", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []

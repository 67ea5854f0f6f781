"""``expanse submit`` over KFP's real client, against a server that speaks the API's JSON."""

import pytest
import yaml

from components.common.errors import BadInput
from pipelines.cli import main
from pipelines.kfp_api import TOKEN, TOKEN_FILE, UI, check_server, connect
from tests.kfp_server import node, run_of

STORE = ("--set", "platform.config_maps.EXPANSE_STORE=null", "--set", "platform.store=s3://bucket/prefix")


def submit(kfp, *arguments):
    return main(["submit", "--recipe", "mini", *STORE, "--host", kfp.url, *arguments])


def package_of(kfp):
    return list(yaml.safe_load_all(kfp.packages[-1].partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]))


def test_a_run_of_the_uploaded_version_starts_under_the_recipes_names(kfp, capsys):
    assert submit(kfp, "--set", "platform.service_account=runner", "--set", "experiment=trials") == 0
    (run,), (version,) = kfp.runs, kfp.versions["id-of-expanse-mini"]
    assert run["pipeline_version_reference"] == {
        "pipeline_id": "id-of-expanse-mini", "pipeline_version_id": f"version-{version}",
    }  # fmt: skip
    assert (run["experiment_id"], run["service_account"]) == ("id-of-trials", "runner")
    assert run["display_name"].startswith("mini-")
    assert capsys.readouterr().out == f"run run-1: {kfp.url}/#/runs/details/run-1\n"


def test_options_go_over_the_recipe_and_the_second_run_uploads_nothing(kfp, monkeypatch, capsys):
    monkeypatch.setenv(UI, "https://kubeflow.example/pipeline/")
    options = ("--experiment", "mine", "--run-name", "first", "--service-account", "me")
    assert submit(kfp, *options) == 0
    assert submit(kfp, *options) == 0
    assert [(run["display_name"], run["service_account"]) for run in kfp.runs] == [("first", "me")] * 2
    assert (len(kfp.packages), list(kfp.experiments)) == (1, ["id-of-mine"])
    assert "https://kubeflow.example/pipeline/#/runs/details/run-2" in capsys.readouterr().out


def test_several_users_mean_a_namespace_and_one_user_means_none(kfp, capsys):
    assert submit(kfp, "--namespace", "team") == 2
    assert "leave --namespace out" in capsys.readouterr().err
    kfp.health["multi_user"] = True
    assert submit(kfp) == 2
    assert "give the namespace of the run with --namespace" in capsys.readouterr().err
    assert not kfp.runs and not kfp.packages
    assert submit(kfp, "--namespace", "team") == 0
    assert next(iter(kfp.experiments.values()))["namespace"] == "team"


@pytest.mark.parametrize(("flag", "cached"), [("--cache", True), ("--no-cache", False)])
def test_caching_can_be_forced_either_way_but_never_for_what_kfp_cannot_know(kfp, flag, cached):
    assert submit(kfp, flag) == 0
    spec = package_of(kfp)[0]
    tasks = {
        name: task
        for part in spec["components"].values()
        for name, task in part.get("dag", {}).get("tasks", {}).items()
    }
    on = {name for name, task in tasks.items() if task["cachingOptions"].get("enableCache")}
    assert bool(on) is cached
    assert not on & {"prompts", "register", "deploy"}


def test_a_rehearsal_asks_nobody(kfp, capsys):
    assert submit(kfp, "--dry-run", "--namespace", "team") == 0
    assert not kfp.authorizations
    said = capsys.readouterr().out
    assert "would run pipeline expanse-mini" in said and "9 chapters" in said and "namespace team" in said


def test_a_recipe_without_a_store_that_pods_share_is_refused(kfp, capsys):
    assert main(["submit", "--recipe", "mini", *STORE[:2], "--host", kfp.url]) == 2
    assert "platform.store: a run on a cluster needs a store" in capsys.readouterr().err
    assert not kfp.authorizations


def test_tokens_come_from_the_option_the_variables_and_never_from_the_recipe(kfp, tmp_path, monkeypatch):
    (tmp_path / "a").write_text("from-option\n")
    (tmp_path / "b").write_text("from-kubelet\n")
    monkeypatch.setenv(TOKEN_FILE, str(tmp_path / "b"))
    check_server(connect(kfp.url), kfp.url)
    monkeypatch.setenv(TOKEN, "from-variable")
    check_server(connect(kfp.url), kfp.url)
    client = connect(kfp.url, tmp_path / "a")
    check_server(client, kfp.url)
    (tmp_path / "a").write_text("renewed")
    check_server(client, kfp.url)
    names = ["from-kubelet", "from-variable", "from-option", "renewed"]
    assert kfp.authorizations == [f"Bearer {name}" for name in names]


@pytest.mark.parametrize("text", [None, ""])
def test_a_token_file_without_a_token_is_named(kfp, tmp_path, text):
    if text is not None:
        (tmp_path / "token").write_text(text)
    with pytest.raises(BadInput, match=r"--token-file names .*token, which"):
        connect(kfp.url, tmp_path / "token")


@pytest.mark.parametrize("version", ["2.16.1", "v2.5.0", "1.8.22"])
def test_a_server_that_is_too_old_is_refused_before_anything_is_sent(kfp, capsys, version):
    kfp.health["tag_name"] = version
    assert submit(kfp) == 2
    assert f"is Kubeflow Pipelines {version}; the pipelines need 2.17" in capsys.readouterr().err
    assert not kfp.packages and not kfp.runs


@pytest.mark.parametrize("version", ["2.17.0", "2.20.3", "unknown", "sha-1234"])
def test_newer_servers_and_those_that_do_not_say_are_taken(kfp, version):
    kfp.health["tag_name"] = version
    assert check_server(connect(kfp.url), kfp.url).version == version


def test_another_service_behind_the_address_is_told_apart(kfp):
    kfp.health = {"status": "ok"}
    with pytest.raises(BadInput, match="does not answer as Kubeflow Pipelines"):
        check_server(connect(kfp.url), kfp.url)
    kfp.refusals["/apis/v2beta1/healthz"] = 404
    with pytest.raises(BadInput, match="does not answer as Kubeflow Pipelines"):
        check_server(connect(kfp.url), kfp.url)


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        ("/apis/v2beta1/healthz", 401, 2, "refuses the health check (401: for a reason)"),
        (
            "/apis/v2beta1/experiments",
            403,
            2,
            "refuses experiment 'expanse' (403: for a reason); give the account the role",
        ),
        ("/apis/v2beta1/experiments", 400, 2, "refuses experiment 'expanse': for a reason."),
        ("/apis/v2beta1/runs", 400, 2, "refuses run 'x': for a reason."),
        ("/apis/v2beta1/runs", 501, 2, "does not answer as Kubeflow Pipelines 2.17"),
        ("/apis/v2beta1/runs", 503, 3, "answered 503: for a reason; try again."),
    ],
)
def test_a_refusal_is_one_sentence_that_names_its_object(kfp, capsys, path, status, code, words):
    kfp.refusals[path] = status
    assert submit(kfp, "--run-name", "x") == code
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not kfp.runs


def test_a_server_that_is_away_is_exit_3(kfp, capsys):
    kfp.stop()
    assert submit(kfp) == 3
    assert "cannot be reached" in capsys.readouterr().err


def test_waiting_ends_with_the_run(kfp, capsys):
    kfp.states = [run_of("SUCCEEDED", node("sources", "SUCCEEDED"))]
    assert submit(kfp, "--wait") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "sources: succeeded" and lines[2].startswith("done: ")


def test_whoever_stops_waiting_is_told_that_the_run_goes_on(kfp, capsys, monkeypatch):
    def interrupted(run):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.following.follow", interrupted)
    with pytest.raises(SystemExit) as stopped:
        submit(kfp, "--wait")
    assert stopped.value.code == 130
    assert f"the run goes on: {kfp.url}/#/runs/details/run-1" in capsys.readouterr().err


def test_waiting_for_a_run_that_fails_is_exit_2(kfp, capsys):
    kfp.states = [run_of("FAILED", node("route", "FAILED", "pod"))]
    kfp.logs["pod"] = "expanse: route: nothing to route."
    assert submit(kfp, "--wait") == 2
    assert "route failed: route: nothing to route; see" in capsys.readouterr().err

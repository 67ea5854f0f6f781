"""Recipes go into KFP's list over its real client, against a server that speaks the API's JSON."""

import pytest
import yaml

from components.common.errors import BadInput, Transient
from pipelines.cli import main
from pipelines.kfp_api import TOKEN_FILE
from pipelines.loading import load_recipe
from pipelines.uploading import upload


def test_the_same_content_is_uploaded_once(kfp, capsys):
    command = ["upload", "--host", kfp.url, "--recipe", "mini"]
    assert main(command) == 0
    assert main(command) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("uploaded") and second.endswith("is there already")
    assert list(kfp.pipelines) == ["expanse-mini"]
    (version,) = kfp.versions["id-of-expanse-mini"]
    assert len(version) == 12
    package = kfp.packages[0].partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
    assert "root" in next(yaml.safe_load_all(package))


def test_changed_content_is_a_further_version_of_the_same_pipeline(kfp):
    upload(kfp.url, load_recipe("mini"))
    upload(kfp.url, load_recipe("mini", ["seed=3"]))
    assert list(kfp.pipelines) == ["expanse-mini"]
    assert len(set(kfp.versions["id-of-expanse-mini"])) == 2


def test_an_upload_that_comes_second_takes_what_the_first_made(kfp):
    upload(kfp.url, load_recipe("mini"))
    kfp.late = True  # the list does not show the pipeline yet that the other upload has just made
    assert upload(kfp.url, load_recipe("mini")).fresh is False
    assert len(kfp.packages) == 1


def test_the_token_of_the_service_account_is_shown(kfp, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("abc\n")
    monkeypatch.setenv(TOKEN_FILE, str(tmp_path / "token"))
    upload(kfp.url + "/", load_recipe("mini"))
    assert set(kfp.authorizations) == {"Bearer abc"}


def test_a_missing_token_is_refused_by_name(kfp, tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN_FILE, str(tmp_path / "none"))
    with pytest.raises(BadInput, match="none"):
        upload(kfp.url, load_recipe("mini"))


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, BadInput, "for a reason.*another token"),
        (403, BadInput, "give the account the role"),
        (404, BadInput, "does not answer as Kubeflow Pipelines"),
        (400, BadInput, "refuses 'mini'"),
        (503, Transient, "answered 503.*try again"),
        (429, Transient, "answered 429"),
    ],
)
def test_a_refusal_is_one_sentence(kfp, status, kind, words):
    kfp.refusal = status
    with pytest.raises(kind, match=words) as caught:
        upload(kfp.url, load_recipe("mini"))
    assert "\n" not in str(caught.value)
    assert not kfp.packages


def test_a_server_that_is_away_is_transient(kfp, capsys):
    kfp.stop()
    assert main(["upload", "--host", kfp.url, "--recipe", "mini"]) == 3
    assert "cannot be reached" in capsys.readouterr().err


def test_nothing_is_uploaded_when_one_recipe_is_wrong(kfp, tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("extends: mini\nnope: 1\n")
    assert main(["upload", "--host", kfp.url, "--recipe", "mini", "--recipe", str(tmp_path / "bad.yaml")]) == 2
    assert main(["upload", "--host", kfp.url, "--recipe", "mini", "--recipe", "mini"]) == 2
    assert "the name 'mini'" in capsys.readouterr().err
    (tmp_path / "astray.yaml").write_text("extends: mini\nname: astray\nplatform: null\n")
    assert main(["upload", "--host", kfp.url, "--recipe", str(tmp_path / "astray.yaml"), "--recipe", "mini"]) == 2
    assert "astray: platform.store: a run on a cluster needs a store" in capsys.readouterr().err
    assert not kfp.pipelines


@pytest.mark.parametrize("host", ["ml-pipeline:8888", "ftp://kfp", "http://user:pass@kfp", "http://"])
def test_a_host_that_is_no_address_is_refused(host):
    with pytest.raises(BadInput, match="--host"):
        upload(host, load_recipe("mini"))

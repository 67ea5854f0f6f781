"""Images in a registry on loopback, with and without its token service."""

import base64
import json

import pytest

from components.common.errors import BadInput, Transient
from pipelines.checks.images import Image, image_checks, look
from pipelines.loading import load_recipe

DIGEST = f"sha256:{'ab' * 32}"
MANIFEST = (200, {"Docker-Content-Digest": DIGEST}, "")


@pytest.mark.parametrize(
    ("reference", "registry", "repository", "version"),
    [
        ("python:3.11", "docker.io", "library/python", "3.11"),
        ("team/app", "docker.io", "team/app", "latest"),
        ("ghcr.io/a/b/c:1", "ghcr.io", "a/b/c", "1"),
        ("localhost:5000/app:1", "localhost:5000", "app", "1"),
        (f"ghcr.io/a/b:1@{DIGEST}", "ghcr.io", "a/b", DIGEST),
    ],
)
def test_references_are_read_as_container_engines_read_them(reference, registry, repository, version):
    assert Image.parse(reference) == Image(registry, repository, version)


def test_plain_http_is_for_this_machine_only():
    assert Image.parse("127.0.0.1:5000/a:1").manifest == "http://127.0.0.1:5000/v2/a/manifests/1"
    assert Image.parse("ghcr.io/a/b:1").manifest == "https://ghcr.io/v2/a/b/manifests/1"
    assert Image.parse("python:3.11").manifest == "https://registry-1.docker.io/v2/library/python/manifests/3.11"


def test_a_pinned_image_that_is_there_is_fine(server):
    server.answers[f"/v2/team/app/manifests/{DIGEST}"] = MANIFEST
    assert look("image cpu", f"{server.host}/team/app@{DIGEST}").status == "ok"
    method, _, headers = server.asked[0]
    assert method == "HEAD" and "application/vnd.oci.image.index.v1+json" in headers["accept"]


def test_a_tag_is_a_warning_with_the_digest_to_use(server):
    server.answers["/v2/team/app/manifests/1"] = MANIFEST
    found = look("image cpu", f"{server.host}/team/app:1")
    assert found.status == "warning" and found.remedy.startswith(f"name it as {server.host}/team/app:1@{DIGEST}")


def test_an_image_that_is_not_there_cannot_be_pulled(server):
    with pytest.raises(BadInput, match=r"team/app:2 cannot be pulled: .* has no such image \(status 404\); push it"):
        look("image cpu", f"{server.host}/team/app:2")


def with_tokens(server, wanted):
    """A registry that sends callers to its token service, which gives tokens to ``wanted`` (None: to anyone)."""
    realm = f'Bearer realm="{server.url}/token",service="registry",scope="repository:team/app:pull"'
    server.answers["/token?scope=repository%3Ateam%2Fapp%3Apull&service=registry"] = lambda headers: (
        (200, {}, {"token": "t0k"}) if wanted in (None, headers.get("authorization")) else (401, {}, {})
    )
    server.answers["/v2/team/app/manifests/1"] = lambda headers: (
        MANIFEST if headers.get("authorization") == "Bearer t0k" else (401, {"WWW-Authenticate": realm}, {})
    )


def test_an_anonymous_token_is_fetched_where_the_registry_wants_one(server):
    with_tokens(server, None)
    assert look("image cpu", f"{server.host}/team/app:1").status == "warning"


def test_a_private_image_opens_to_the_credentials_of_the_container_engine(server, tmp_path):
    secret = base64.b64encode(b"user:planted-password").decode()
    with_tokens(server, f"Basic {secret}")
    with pytest.raises(BadInput, match=r"is not open to these credentials \(status 401\).*image_pull_secrets"):
        look("image cpu", f"{server.host}/team/app:1")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": secret}}}))
    found = look("image cpu", f"{server.host}/team/app:1")
    assert found.status == "warning" and secret not in found.words


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"auths": []}', '{"auths": {"HOST": {"auth": "%"}}}', '{"credsStore": "x"}']
)
def test_a_container_engine_without_usable_credentials_is_as_if_there_were_none(server, tmp_path, text):
    server.answers["/v2/team/app/manifests/1"] = MANIFEST
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(text.replace("HOST", server.host))
    assert look("image cpu", f"{server.host}/team/app:1").status == "warning"
    assert "authorization" not in server.asked[0][2]


def test_a_token_service_at_a_metadata_address_is_not_asked(server):
    challenge = {"WWW-Authenticate": 'Bearer realm="http://169.254.169.254/token"'}
    server.answers["/v2/team/app/manifests/1"] = (401, challenge, {})
    with pytest.raises(BadInput, match=r"169\.254\.169\.254"):
        look("image cpu", f"{server.host}/team/app:1")


def test_a_registry_that_is_away_may_come_back(nobody):
    with pytest.raises(Transient, match="cannot be reached"):
        look("image cpu", f"{nobody.removeprefix('http://')}/team/app:1")


def test_the_recipes_images_come_before_the_locked_ones(server):
    recipe = load_recipe("mini", [f"platform.images={{cpu: '{server.host}/team/app:9'}}"])
    check = next(check for check in image_checks(recipe) if check.object == "image cpu")
    with pytest.raises(BadInput, match="team/app:9"):
        check.look()
    assert {check.object for check in image_checks(recipe)} == {"image cpu", "image train", "image serve"}

"""What a recipe for a cluster may name: no file that pods do not see, no secret, no address of the cloud's own services."""

import pytest

from components.common.errors import BadInput
from pipelines.compiling import compile_recipe
from pipelines.loading import load_recipe

ENDPOINT = ("online.samples.engine=openai", "online.samples.served=null", "online.samples.endpoint.model=x")


def compiled(path, *changes):
    compile_recipe(load_recipe("8b", changes), path)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["base.source=file:///etc"], r"base\.source: pods see files below /data, and not /etc"),
        (["base.source=file:///data/../etc"], r"base\.source: .* and not /data/\.\./etc"),
        (["base.source=file:///database"], r"base\.source"),
        (["baselines=[{name: b, source: 'file:///root/b', license: x}]"], r"baselines\.0\.source"),
        (["prompts.files=[prompts.jsonl]"], r"prompts\.files: .* not prompts\.jsonl"),
        (["platform.data=null"], r"prompts\.files: pods see files nowhere, as the recipe mounts no claim"),
    ],
)
def test_files_that_no_pod_sees_are_refused_before_anything_is_written(tmp_path, changes, words):
    with pytest.raises(BadInput, match=words):
        compiled(tmp_path / "pipeline.yaml", *changes)
    assert not list(tmp_path.iterdir())


def test_files_on_the_claims_of_the_recipe_are_seen(tmp_path):
    shared = ["platform.scratch={kind: pvc, claim: work}", "reward.source=file:///scratch/models/reward"]
    assert "/scratch/models/reward" in compiled(tmp_path / "a.yaml", "base.source=file:///data/aya", *shared)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://me:hunter2@host/v1", "carries a user name or password"),
        ("https://hunter2@host/v1", "carries a user name or password"),
        ("https://host/v1?key=hunter2", r"no \? and no #"),
        ("http://me:hunter2@[host/v1", "is not an address"),
        ("http://169.254.169.254/v1", "no endpoint may have"),
        ("http://[::ffff:169.254.169.254]/v1", "no endpoint may have"),
        ("http://[fd00:ec2::254]/v1", "no endpoint may have"),
        ("http://metadata.google.internal/v1", "is a metadata service"),
        ("file:///etc/passwd", "is not an address of an endpoint"),
        ("gopher://host/", "is not an address of an endpoint"),
    ],
)
def test_addresses_that_no_recipe_may_name_are_refused_and_their_secrets_not_repeated(url, words):
    with pytest.raises(BadInput, match=words) as caught:
        load_recipe("8b", [*ENDPOINT, f"online.samples.endpoint.url={url}"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("change", ["platform.secrets.HF_TOKEN=hunter2", "platform={secrets: {HF_TOKEN: hunter2}}"])
def test_a_secret_in_the_place_of_its_name_is_not_repeated(change):
    with pytest.raises(BadInput, match=r"platform\.secrets\.HF_TOKEN: .*name a Secret and its key") as caught:
        load_recipe("8b", [change])
    assert "hunter2" not in str(caught.value)

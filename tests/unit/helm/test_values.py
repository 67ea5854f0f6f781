"""Every value is documented, typed and refused when it is wrong."""

import json
import re

import pytest
import yaml

from tests.charts import CHART, find, render, rendered

VALUES = (CHART / "values.yaml").read_text(encoding="utf-8")
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def described():
    """Each value of values.yaml that has a comment: its dotted name, default and comment."""
    parents, comment = [], []
    defaults = yaml.safe_load(VALUES)
    for line in VALUES.splitlines():
        text = line.strip()
        if text.startswith("#"):
            comment.append(text.lstrip("# "))
        elif match := re.match(r"( *)([\w-]+):", line):
            parents[len(match[1]) // 2 :] = [match[2]]
            if comment:
                value = defaults
                for key in parents:
                    value = value[key]
                yield ".".join(parents), value, " ".join(comment)
            comment = []
        else:
            comment = []


def table():
    return [f"| `{name}` | `{json.dumps(value)}` | {comment} |" for name, value, comment in described()]


def leaves(value, schema, path=()):
    """The dotted names of all values that the schema does not open further."""
    if isinstance(value, dict) and schema.get("properties"):
        for key, inner in value.items():
            yield from leaves(inner, schema["properties"][key], (*path, key))
    else:
        yield ".".join(path)


def test_the_readme_lists_every_value_with_its_default():
    _, _, section = (CHART / "README.md").read_text(encoding="utf-8").partition("## Values\n")
    assert [line for line in section.splitlines() if line.startswith("| `")] == table()


def test_every_value_has_a_comment():
    assert [name for name, _, _ in described()] == list(leaves(yaml.safe_load(VALUES), SCHEMA))


def objects(schema, path=()):
    """Every object of the schema that lists its fields, by its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        if inner.get("type") == "object" and "properties" in inner:
            yield from objects(inner, (*path, name))


def test_no_object_takes_fields_that_it_does_not_list():
    for path, schema in objects(SCHEMA):
        assert schema["additionalProperties"] is False, path


def test_the_schema_has_no_value_that_values_do_not():
    def names(schema, path=()):
        for name, inner in schema["properties"].items():
            yield from names(inner, (*path, name)) if "properties" in inner else [".".join((*path, name))]

    assert set(names(SCHEMA)) - {"global"} == set(leaves(yaml.safe_load(VALUES), SCHEMA))


def refusal(values):
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk (real Helm) is not installed on this machine")
    with pytest.raises(helm.HelmError) as caught:
        rendered(values)
    return str(caught.value)


def nested(path, value):
    for key in reversed(path):
        value = {key: value}
    return value


@pytest.mark.parametrize("path", [path for path, _ in objects(SCHEMA)], ids=lambda path: ".".join(path) or "top")
@pytest.mark.parametrize("name", ["password", "secretKey"])
def test_there_is_no_place_for_a_secret(path, name):
    assert f"additional properties '{name}' not allowed" in refusal(nested((*path, name), "hunter2"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mlflow": {"workers": "many"}}, "'/mlflow/workers': got string, want integer"),
        ({"images": {"cpu": "expanse:latest"}}, "/images/cpu"),
        ({"images": {"cpu": "ghcr.io/expanse/cpu"}}, "/images/cpu"),
        ({"images": {"cpu": "user:pass@ghcr.io/expanse/cpu:1"}}, "/images/cpu"),
        ({"storage": {"endpoint": "https://user:pass@s3.example.com"}}, "/storage/endpoint"),
        ({"storage": {"store": "/data"}}, "/storage/store"),
        ({"storage": {"secret": "Not A Name"}}, "/storage/secret"),
        ({"mlflow": {"externalUri": "postgresql://a:b@c/d"}}, "/mlflow/externalUri"),
        ({"mlflow": {"database": {"host": "u:p@db"}}}, "/mlflow/database/host"),
        ({"mlflow": {"database": {"port": 70000}}}, "/mlflow/database/port"),
        ({"mlflow": {"allowedHosts": ["*"]}}, "/mlflow/allowedHosts/0"),
        ({"mlflow": {"artifacts": {"destination": "s3://bucket?key=1"}}}, "/mlflow/artifacts/destination"),
        ({"mlflow": {"persistence": {"size": "lots"}}}, "/mlflow/persistence/size"),
        ({"pipelines": {"recipes": ["9b"]}}, "/pipelines/recipes/0"),
        ({"pipelines": {"ownRecipes": {"../evil": {}}}}, "../evil"),
        ({"networkPolicies": {"storage": {"cidrs": ["169.254.169.254/32"]}}}, "/networkPolicies/storage/cidrs/0"),
        ({"networkPolicies": {"storage": {"cidrs": ["169.254.0.0/16"]}}}, "/networkPolicies/storage/cidrs/0"),
        ({"networkPolicies": {"storage": {"cidrs": ["169.0.0.0/8"]}}}, "/networkPolicies/storage/cidrs/0"),
        ({"networkPolicies": {"storage": {"cidrs": ["128.0.0.0/1"]}}}, "/networkPolicies/storage/cidrs/0"),
        ({"networkPolicies": {"internet": {"cidrs": ["fd00:ec2::/32"]}}}, "/networkPolicies/internet/cidrs/0"),
        ({"networkPolicies": {"storage": {"ports": []}}}, "/networkPolicies/storage/ports"),
        ({"quota": {"hard": {"pods": "some"}}}, "/quota/hard/pods"),
        ({"mlflow": {"externalUri": "https://mlflow.example.com"}}, "turn one of the two off"),
        ({"mlflow": {"database": {"host": "db", "sslMode": "verify-full"}}}, "needs mlflow.database.caConfigMap"),
        ({"kueue": {"localQueue": "q"}}, "needs kueue.clusterQueue"),
        (
            {"pipelines": {"ownRecipes": {"a": {"judge": {"api_key": "hunter2"}}}}},
            "pipelines.ownRecipes holds what looks like a secret (api_key); name a Secret there instead",
        ),
        (
            {"kfp": {"launcher": {"create": True, "providers": {"s3": {"secretKey": "hunter2"}}}}},
            "kfp.launcher.providers holds what looks like a secret (secretKey)",
        ),
        ({"pipelines": {"recipes": []}}, "name one in pipelines.recipes"),
        ({"mlfow": {}}, "additional properties 'mlfow' not allowed"),
    ],
)
def test_a_bad_value_is_refused_by_name(values, words):
    said = refusal(values)
    assert words in said
    assert "hunter2" not in said


def test_the_name_of_a_secret_is_no_secret():
    reference = {"secretRef": {"secretName": "s3", "accessKeyKey": "a", "secretKeyKey": "b"}}
    recipe = {"platform": {"secrets": {"HF_TOKEN": {"secret": "tokens", "key": "HF_TOKEN"}}}}
    judge = {"judge": {"api_key_variable": "OPENAI_API_KEY"}}
    assert rendered(
        {
            "kfp": {"launcher": {"create": True, "providers": {"s3": {"default": {"credentials": reference}}}}},
            "pipelines": {"ownRecipes": {"a": recipe, "b": judge}},
        }
    )


def test_the_values_for_a_shared_namespace_leave_what_others_run_there_alone():
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    _, _, section = readme.partition("## In a namespace that others share\n")
    values = yaml.safe_load(re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1])
    objects = render(values)
    assert not [each for each in objects if each["kind"] in ("ResourceQuota", "LimitRange")]
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    ours = {"app.kubernetes.io/part-of": "expanse"}
    assert policies and all(ours.items() <= each["spec"]["podSelector"]["matchLabels"].items() for each in policies)
    kept = find(render({"quota": {"hard": {}}}), "ResourceQuota", "expanse")["spec"]["hard"]
    assert "count/trainjobs.trainer.kubeflow.org" in kept  # an empty mapping changes nothing: hence the nulls

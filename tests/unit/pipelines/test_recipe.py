import pytest

from components.common.errors import BadInput
from pipelines.loading import load_recipe, merge, shipped_recipes
from pipelines.recipe import Recipe


def test_three_recipes_ship():
    assert shipped_recipes() == ["32b", "8b", "mini"]


@pytest.mark.parametrize("name", ["mini", "8b", "32b"])
def test_shipped_recipes_are_complete(name):
    recipe = load_recipe(name)
    assert len(recipe.languages) == 23
    assert set(recipe.shared_languages) == {"en", "es", "fr"}
    assert recipe.online.rounds == 3
    assert recipe.merging.method == "linear"
    covered = {language for cluster in recipe.clusters for language in recipe.cluster_languages(cluster)}
    assert covered == set(recipe.languages)


def test_the_digest_sees_every_value_and_nothing_else():
    plain = load_recipe("mini")
    assert load_recipe("mini").digest == plain.digest
    assert load_recipe("mini", ["seed=18"]).digest != plain.digest
    assert load_recipe("mini", [f"seed={plain.seed}"]).digest == plain.digest


def test_overrides_reach_nested_fields_and_keep_their_type():
    recipe = load_recipe("mini", ["offline.dpo.beta=0.25", "online.rounds=1", "description=Ours"])
    assert (recipe.offline.dpo.beta, recipe.online.rounds, recipe.description) == (0.25, 1, "Ours")


def test_null_takes_a_field_away():
    plain = load_recipe("mini")
    assert load_recipe("mini", ["sft.common=null"]).sft.common is None
    assert load_recipe(
        "mini", ["platform.config_maps.EXPANSE_STORE=null", "nowhere.near=null", "nowhere=null"]
    ).platform == (
        plain.platform.model_copy(
            update={"config_maps": {k: v for k, v in plain.platform.config_maps.items() if k != "EXPANSE_STORE"}}
        )
    )


def test_a_recipe_extends_another(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: mini\nname: mine\noffline:\n  dpo:\n    beta: 0.3\n", encoding="utf-8")
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.offline.dpo.beta) == ("mine", 0.3)
    assert recipe.sft == load_recipe("mini").sft


def test_a_chain_of_extensions_that_closes_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b\n")
    (tmp_path / "b.yaml").write_text("extends: a\n")
    with pytest.raises(BadInput, match="extends itself"):
        load_recipe(str(tmp_path / "a.yaml"))


BROKEN = {
    "unknown=1": "unknown: there is no such field",
    "offline.dpo.betta=1": r"offline\.dpo\.betta: there is no such field",
    "offline.dpo.beta=fast": r"offline\.dpo\.beta: input should be a valid number.*given: 'fast'",
    "offline.dpo.beta=-1": r"offline\.dpo\.beta: input should be greater than 0",
    "clusters.romance=[es, tlh]": r"clusters\.romance: 'tlh' is not among the recipe's languages",
    "merging.weights=[1, 2]": r"merging\.weights: 2 weights for \d clusters; give one weight per cluster",
    "arbitrage={routing: single, teacher: nobody}": r"arbitrage\.teacher: 'nobody' is not among the teachers",
    "arbitrage={routing: fixed, experts: {de: nobody}}": r"arbitrage\.experts",
    "languages=[en, en2]": r"languages: 'en2' is not among the 23 languages",
    "evaluation.answers={engine: openai, endpoint: {url: 'http://h/v1', model: m}}": (
        r"evaluation\.answers: each step evaluates its own model"
    ),
    "online.check.answers={engine: openai, served: {source: 'hf://a/b'}}": r"online\.check\.answers: each step",
    "baselines=[{name: x, license: L, endpoint: {url: 'http://h/v1', model: m}}]": (
        r"baselines: 'x' needs the tokenizer of its model for multiple choice; add tokenizer: hf://org/name"
    ),
    "baselines=[{name: x, license: L, source: 'hf://a/b', tokenizer: 'hf://a/b'}]": r"tokenizer is the model's own",
    "baselines=[{name: x, license: L, served: {}}]": r"'x': served\.source is missing",
    "baselines=[{name: x, license: L}]": r"'x' needs one of source, endpoint and served",
    "online.rounds=9": r"prompts\.portions: 'round-4' is not among the portions",
    "base.source=somewhere": r"--set base\.source=somewhere: base\.source: write hf://org/name@revision, file:///folder or",
    "teachers=[{name: A, license: x}]": r"teachers\.0\.name: write small letters, digits and hyphens",
    "platform.store=data": r"platform\.store: write s3://bucket/prefix or file:///folder \(given: 'data'\)",
    "resources.data.memory=8G": r"write a whole number with Ki, Mi, Gi or Ti, such as 64Gi \(given: '8G'\)",
    "resources.data.cpu=two": r"write a number of cores such as 4, 0\.5 or 500m \(given: 'two'\)",
    "teachers=[{name: a, license: x, served: {source: x}}]": r"write hf://org/name@revision \(given: 'x'\)",
    "online.rounds=many": r"online\.rounds",
    "nonsense": "is not of the form field",
    "a..b=1": "is not of the form field",
    "name=[": "not readable as YAML",
}


@pytest.mark.parametrize("override", BROKEN)
def test_a_wrong_value_is_one_sentence_with_its_field(override):
    with pytest.raises(BadInput, match=BROKEN[override]) as raised:
        load_recipe("mini", [override])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no recipe"),
        ("- a", "holds no recipe"),
        ("a: [", "not readable as YAML"),
        ("extends: nowhere\n", "There is no recipe 'nowhere'"),
        ("extends: mini\nseed: 1\nseed: 2\n", "line 3: 'seed' is given twice"),
        ("name: x\n", "this field is required"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        load_recipe(str(path))


def test_what_is_wrong_in_the_file_is_not_laid_to_an_override(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: mini\noffline: {dpo: {betta: 1}}\n")
    with pytest.raises(BadInput, match=r"mine\.yaml: offline\.dpo\.betta"):
        load_recipe(str(path), ["offline.dpo.beta=0.2"])
    with pytest.raises(BadInput, match=r"--set offline\.dpo\.betta=2: offline\.dpo\.betta"):
        load_recipe(str(path), ["offline.dpo.betta=2"])


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="not readable as YAML"):
        load_recipe(str(path))


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(BadInput, match="use 32b, 8b, mini, or the path"):
        load_recipe("70b")


def test_merge_lays_mappings_over_each_other_and_replaces_lists():
    assert merge({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}}
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}) == {"a": {"c": 2}}


def test_a_recipe_survives_its_json():
    recipe = load_recipe("8b")
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_the_schema_knows_every_section():
    assert set(Recipe.model_json_schema()["properties"]) == set(Recipe.model_fields)


def test_the_published_recipes_say_where_their_models_come_from():
    for name in ("8b", "32b"):
        recipe = load_recipe(name)
        for model in (recipe.base, recipe.reward, *recipe.teachers, *recipe.baselines):
            assert model.license

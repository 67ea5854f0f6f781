"""Plans of the shipped recipes, against the graph and against figures worked out by hand."""

import json

import pytest

from components.common.errors import BadInput
from pipelines.cli import main
from pipelines.expanse import count_steps
from pipelines.loading import load_recipe
from pipelines.planning.planner import plan
from pipelines.planning.shapes import PUBLISHED
from pipelines.planning.showing import as_json
from pipelines.planning.walking import walk

AYA = PUBLISHED["CohereLabs/aya-23-8B"]
REWARD = PUBLISHED["Skywork/Skywork-Reward-V2-Llama-3.1-8B"]


def planned(name="8b", *overrides, until="release"):
    return {each.step.name: each for each in plan(load_recipe(name, overrides), until).estimates}


@pytest.fixture(scope="module")
def eight():
    return planned()


@pytest.mark.parametrize("name", ["mini", "8b", "32b"])
@pytest.mark.parametrize("until", ["sft", "release"])
def test_every_step_of_the_graph_is_there_behind_what_it_waits_for(name, until):
    recipe = load_recipe(name)
    steps = walk(recipe, until)
    names = [step.name for step in steps]
    assert len(set(names)) == len(names) == count_steps(recipe, until)
    for step in steps:
        assert set(step.inputs.values()) <= step.after <= set(names) - {step.name}


def test_inputs_are_followed_through_chapters():
    steps = {step.name: step for step in walk(load_recipe("8b"))}
    assert steps["sft-romance"].inputs == {"model": "sft-common", "examples": "route"}
    assert steps["evaluate-final"].inputs["model"] == "accept-3"
    assert steps["sft-romance"].config.languages == ["en", "es", "fr", "it", "pt", "ro"]


ENDPOINTS = (
    "teachers=[{name: gemma-2-27b, license: Gemma, endpoint: {url: 'http://h/v1', model: google/gemma-2-27b-it}},"
    "{name: qwen-2-5-32b, license: Apache-2.0, endpoint: {url: 'http://h/v1', model: Qwen/Qwen2.5-32B-Instruct}}]"
)


def test_teachers_answer_every_prompt():
    step = planned("8b", ENDPOINTS, until="arbitrage")["generate-gemma-2-27b"]
    (asked,) = step.work.asked
    assert (asked.requests, asked.prompt_tokens, asked.completion_tokens) == (230_000, 230_000 * 150, 230_000 * 450)
    assert step.work.flops == step.gpu_hours == 0


def test_a_served_teacher_computes_on_the_gpus_of_its_service(eight):
    step = eight["generate-llama-3-1-70b"]
    assert not step.work.asked
    assert step.work.generated == 230_000 * 450
    assert step.gpu_hours == pytest.approx(4 * step.hours)
    twice = planned("8b", "online.samples.served.replicas=4")["sample-1"]
    assert twice.gpus == 4 and twice.hours < eight["sample-1"].hours


def test_scoring_reads_every_answer(eight):
    work = eight["score-teachers"].work
    assert work.rows == 4 * 230_000
    assert work.read == 4 * 230_000 * 600
    assert work.reading_flops == 2 * REWARD.computed * work.read


def test_sft_trains_on_its_part_and_its_languages(eight):
    common, romance = eight["sft-common"].work, eight["sft-romance"].work
    assert common.rows == pytest.approx(0.6 * 230_000)
    assert common.trained == 1079 * 128 * 600  # 138,000 rows are 1,079 batches of 128, the last one filled up
    assert romance.rows == pytest.approx(0.4 * 230_000 * 6 / 23)
    assert common.training_flops == 8 * AYA.computed * common.trained  # activations are recomputed
    assert common.weights == 16 * AYA.parameters and common.stored == 2 * AYA.parameters


def test_dpo_reads_both_sides_twice(eight):
    work = eight["dpo-round-1-slavic"].work
    rows = 46_000 * 7 / 23
    assert work.rows == pytest.approx(rows)
    assert work.read == pytest.approx(rows * 2 * 600)
    assert work.trained == 219 * 64 * 2 * 600
    assert work.reading_flops == 2 * AYA.computed * work.read


def test_through_english_writes_twice_and_leaves_english_out(eight):
    work = eight["translate"].work
    assert work.rows == pytest.approx(230_000 * 22 / 23)
    assert work.generated == pytest.approx(2 * work.rows * 450)


#: Answers that are read for safety: to the red-teaming requests, and to Dolly's in the same six languages.
READ = 6 * 927 + 6 * 200


def test_an_evaluation_asks_the_judge_in_both_orders_against_each_opponent(eight):
    (alone,), (one,), (two,) = (eight[f"evaluate-{name}"].work.asked for name in ("gemma-2-9b", "base", "final"))
    pairwise = 500 * 23 + 200 * 5 + 200 * 23
    assert alone.requests == READ
    assert (one.requests, two.requests) == (2 * pairwise + READ, 4 * pairwise + READ)


def test_a_limit_of_questions_is_planned_with():
    work = planned("8b", "benchmarks.limit=10")["check-1"].work
    assert work.rows == 23 * 10


def test_hours_follow_from_the_card(eight):
    step = eight["sft-common"]
    computing = step.work.training_flops / (8 * 989e12 * 0.35)
    moving = (AYA.parameters * 4 + 230_000 * 600 * 4.5) / 0.5e9
    assert step.duration.computing == pytest.approx(computing)
    assert step.duration.moving == pytest.approx(moving)
    assert step.gpu_hours == pytest.approx(8 * (computing + moving + 180) / 3600)


def test_a_node_selector_names_the_card():
    selector = "resources.training.node_selector={nvidia.com/gpu.product: NVIDIA-A100-SXM4-80GB}"
    made = planned("8b", selector, until="sft")
    assert made["sft-common"].card == "A100" and made["score-teachers"].card == "H100"


def test_a_model_on_a_cpu_is_not_timed():
    made = planned("mini")
    assert not made["sft-common"].duration.timed and made["sft-common"].gpu_hours == 0
    assert made["route"].duration.timed


def test_the_totals_are_the_sums_and_the_path_is_the_longest():
    made = plan(load_recipe("8b"))
    figures = as_json(made)
    assert figures["totals"]["gpu_hours"] == pytest.approx(sum(step["gpu_hours"] for step in figures["steps"]))
    assert figures["totals"]["stored"] == pytest.approx(sum(step["stored"] for step in figures["steps"]))
    hours = {each.step.name: each.hours for each in made.estimates}
    assert made.schedule.hours == pytest.approx(sum(hours[name] for name in made.schedule.critical))
    assert made.schedule.hours <= sum(hours.values())
    for step in walk(load_recipe("8b")):
        waited = max((made.schedule.ends[name] for name in step.after), default=0.0)
        assert made.schedule.ends[step.name] == pytest.approx(waited + hours[step.name])
    assert made.schedule.peak_gpus == 5 * 8  # the five clusters' training at once


@pytest.mark.parametrize(
    "override",
    [
        "planning.completion_tokens=900", "online.samples.samples=8", "planning.training_utilisation=0.1",
        "prompts.portions={arbitrage: 460000, round-1: 46000, round-2: 46000, round-3: 46000}", "offline.dpo.epochs=3",
        "planning.gpu=A100",
    ],
)  # fmt: skip
def test_more_work_or_slower_cards_take_more_gpu_hours(eight, override):
    def hours(steps):
        return sum(each.gpu_hours for each in steps.values())

    assert hours(planned("8b", override)) > hours(eight)


PRICES = (
    "platform.prices={currency: EUR, gpu_hour: {H100: 2}, cpu_hour: 0.5, storage_tb_month: 20, "
    "tokens: {google/gemma-2-27b-it: {prompt: 0.1, completion: 0.3}}}"
)


def test_costs_are_hours_months_and_tokens_at_the_recipes_prices():
    step = planned("8b", PRICES, ENDPOINTS, until="arbitrage")["generate-gemma-2-27b"]
    tokens = 230_000 * (150 * 0.1 + 450 * 0.3) / 1e6
    kept = step.work.stored / 1e12 * 20
    assert step.cost.known == pytest.approx(step.hours * 4 * 0.5 + tokens + kept)
    assert not step.cost.missing
    scoring = planned("8b", PRICES, until="arbitrage")["score-teachers"]
    assert scoring.cost.known == pytest.approx(scoring.hours * (2 + 8 * 0.5) + scoring.work.stored / 1e12 * 20)


ENDPOINT = "teachers=[{name: t, license: MIT, endpoint: {url: 'http://t/v1', model: m, concurrency: 10"


def test_an_endpoints_own_price_comes_first():
    own = f"{ENDPOINT}, input_price: 1, output_price: 2}}}}]"
    (step,) = [each for name, each in planned("8b", PRICES, own, until="arbitrage").items() if name == "generate-t"]
    assert step.cost.known - step.hours * 4 * 0.5 == pytest.approx(230_000 * (150 + 2 * 450) / 1e6, rel=1e-3)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ("", 230_000 * 450 / (10 * 30)),
        (", requests_per_minute: 30", 230_000 * 2),
        (", tokens_per_minute: 6000", 230_000 * 600 / 100),
        (", requests_per_minute: 1000000", 230_000 * 450 / (10 * 30)),
    ],
)
def test_an_endpoints_limits_set_the_pace(limit, seconds):
    step = planned("8b", f"{ENDPOINT}{limit}}}}}]", until="arbitrage")["generate-t"]
    assert step.duration.waiting == pytest.approx(seconds)


QWEN = PUBLISHED["Qwen/Qwen2.5-32B-Instruct"]
SERVED = (
    "teachers=[{name: t, license: Apache-2.0, served: {source: 'hf://Qwen/Qwen2.5-32B-Instruct', gpus: 2, replicas: 3, "
    "concurrency: 96}}]"
)


def test_a_teacher_that_is_served_takes_its_gpus_from_start_to_end():
    step = planned("8b", SERVED, until="arbitrage")["generate-t"]
    assert (step.step.machine.total_gpus, step.gpus, step.card, step.served_cards) == (0, 6, None, ("H100",))
    assert step.work.generated == 230_000 * 450 and step.work.read == 230_000 * 150
    weights = 2 * QWEN.parameters
    cache = 230_000 * 450 * (150 + 225) * 4 * 64 * 8 * 128  # K and V of 64 layers, 8 heads of 128, in 16 bits
    batches = -(-230_000 // 32) * 450  # 32 requests a replica
    sampling = (batches * weights + cache) / (6 * 3350e9 * 0.5)
    reading = 2 * QWEN.computed * 230_000 * 150 / (6 * 989e12 * 0.35)
    assert step.duration.served == (pytest.approx(weights / 0.5e9 + reading + sampling),)
    assert step.duration.startup == 2 * 180
    assert step.gpu_hours == pytest.approx(6 * step.hours)


def test_a_served_model_that_does_not_fit_is_noted_and_one_of_unknown_size_is_asked_for():
    small = SERVED.replace("gpus: 2", "gpus: 1").replace(
        "Qwen/Qwen2.5-32B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"
    )
    notes = "\n".join(plan(load_recipe("8b", [small]), "arbitrage").notes)
    assert "leave no room for its cache in the 80 GB of a H100: generate-t (141 GB on each of 1)" in notes
    with pytest.raises(BadInput, match=r"hf://x/y .*planning.parameters"):
        planned("8b", SERVED.replace("Qwen/Qwen2.5-32B-Instruct", "x/y"))


JUDGE = "evaluation.judge={kind: served, served: {source: 'hf://meta-llama/Llama-3.1-70B-Instruct', gpus: 4}}"


def test_a_judge_that_is_served_follows_the_served_model_that_it_judges():
    steps = planned("8b", JUDGE, "evaluation.answers.served.replicas=2")
    first, final = steps["evaluate-gemma-2-9b"], steps["evaluate-final"]
    assert (first.gpus, final.gpus) == (4, 4)  # one after the other: the most at one time
    answers, judge = final.work.servings
    assert judge.decodings[0].rows == 4 * (500 * 23 + 200 * 5 + 200 * 23) + READ
    assert (answers.gpus, final.duration.computing, final.card) == (2, 0, None)
    answering, judging = final.duration.served
    around = final.duration.startup + final.duration.moving
    assert answering > 0 and judging > 0 and final.duration.startup == 3 * 180
    assert final.gpu_hours == pytest.approx((2 * (around + answering) + 4 * (around + judging)) / 3600)


LOCAL = (
    "evaluation.answers={engine: transformers}",
    "online.check.answers={engine: transformers}",
    "resources.evaluation={gpus: 1, memory: 64Gi, timeout_hours: 12}",
)


def test_a_judge_that_is_served_counts_beside_a_model_in_process():
    steps = planned("8b", JUDGE, *LOCAL)
    final = steps["evaluate-final"]
    assert final.gpus == 5 and final.duration.served[0] > 0
    assert final.duration.computing == pytest.approx(steps["evaluate-base"].duration.computing) and final.work.flops


def test_a_served_model_reads_what_it_would_read_in_process_and_its_weights_are_not_moved():
    there, here = planned("8b")["evaluate-base"], planned("8b", *LOCAL)["evaluate-base"]
    (serving,) = there.work.servings
    assert (there.work.read, there.work.generated) == (here.work.read, here.work.generated)
    written = sum(each.rows * each.prompt for each in serving.decodings)
    assert serving.scored + written == pytest.approx(there.work.read) and serving.scored > written
    assert here.moved - there.moved == pytest.approx(here.work.weights)
    assert there.gpu_hours < 4 * there.hours  # it is gone while the judge is asked


def test_a_baseline_behind_an_endpoint_is_paid_by_the_token():
    endpoint = "{url: 'https://api.example.com/v1', model: m, input_price: 1, output_price: 10}"
    baseline = f"baselines=[{{name: x, license: proprietary, tokenizer: 'hf://a/b', endpoint: {endpoint}}}]"
    steps = planned("8b", baseline)
    asked, judge = steps["evaluate-x"].work.asked
    assert judge.requests == READ
    assert asked.requests > 14042 * 20 and asked.prompt_tokens > 14042 * 20 * 1000
    assert steps["evaluate-x"].gpu_hours == steps["evaluate-x"].work.flops == 0
    assert steps["evaluate-x"].cost.known > (asked.prompt_tokens + 10 * asked.completion_tokens) / 1e6 - 1
    assert len(steps["evaluate-base"].work.asked) == 1  # the judge


def test_a_price_that_is_not_given_is_named_and_not_guessed():
    made = planned("8b", PRICES, ENDPOINTS, until="arbitrage")
    assert made["generate-qwen-2-5-32b"].cost.missing == {"tokens.Qwen/Qwen2.5-32B-Instruct"}
    bare = planned("8b", until="arbitrage")["score-teachers"].cost
    assert bare.known == 0 and "gpu_hour.H100" in bare.missing


def test_what_will_not_fit_or_end_is_noted():
    baseline = "baselines=[{name: llama-3-1-70b, license: L, source: 'hf://meta-llama/Llama-3.1-70B-Instruct'}]"
    notes = "\n".join(plan(load_recipe("32b", [*LOCAL, baseline, "resources.data.storage=50Gi"])).notes)
    assert "do not fit into the 80 GB of a H100: evaluate-llama-3-1-70b (141 GB each)" in notes
    assert "cache of a batch do not fit into the 80 GB of a H100: check-offline (70 + " in notes
    short = "\n".join(plan(load_recipe("8b", LOCAL)).notes)
    assert "takes longer than its timeout of 12 h: evaluate-base (15 h)" in short
    assert "needs more disk" in notes and "base (70 GB)" in notes
    small = "\n".join(plan(load_recipe("8b", ["resources.training.gpus=1"])).notes)
    assert "weights, gradients and optimiser do not fit" in small and "sft-common (128 GB each)" in small


def test_models_of_unknown_size_are_all_named_with_the_field():
    changes = ("base.source=hf://a/b", "baselines=[{name: x, source: hf://c/d@v1, license: MIT}]")
    with pytest.raises(
        BadInput, match=r"hf://a/b and hf://c/d@v1 .*planning.parameters.*\"a/b\": ..., \"c/d\": \.\.\."
    ):
        planned("8b", *changes)
    made = planned("8b", *changes, "planning.parameters={a/b: 1.0e9, c/d: 2.0e9}")
    assert made["base"].work.stored == 2e9


def test_a_local_folder_is_measured_by_its_configuration(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "model_type": "cohere", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 256000,
            }
        )
    )  # fmt: skip
    assert planned("8b", f"base.source={tmp_path.as_uri()}", until="sources")["base"].work.stored == 2 * AYA.parameters


def test_a_benchmark_without_questions_is_named_before_the_run_finds_out():
    with pytest.raises(
        BadInput, match=r"benchmark 'arena' has no questions in this run, .*m_arena_hard.*benchmarks.names"
    ):
        planned("8b", "online.check.benchmarks=[{name: arena, kind: pairwise}]")


def test_an_unknown_card_names_the_known_ones():
    with pytest.raises(BadInput, match=r"planning.gpu: the card 'V9' is not known .*H100.*planning.cards"):
        planned("8b", "planning.gpu=V9")
    card = "planning.cards={V9: {tflops: 1, memory: 1, bandwidth: 1}}"
    assert planned("8b", "planning.gpu=V9", card)["score-teachers"].card == "V9"


def test_the_command_prints_tables_and_every_assumption(capsys):
    assert main(["plan", "--recipe", "8b"]) == 0
    text = capsys.readouterr().out
    for words in (
        "offline-preference",
        "score-teachers",
        "GPU-hours",
        "no price given: platform.prices",
        "arXiv 2001.08361",
    ):
        assert words in text
    for field in load_recipe("8b").planning.model_dump():
        if field not in {"cards", "parameters", "benchmark_tokens"}:
            assert f"planning.{field}" in text


def test_the_command_prints_json(capsys):
    assert main(["plan", "--recipe", "mini", "--until", "sft", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["steps"][-1]["name"] == "merge-sft" and document["steps"][-1]["chapter"] == "sft"
    assert {"gpu_hours", "hours", "stored", "cost"} <= set(document["totals"])


def test_bad_input_is_one_sentence(capsys):
    assert main(["plan", "--recipe", "8b", "--set", "planning.gpu=V9"]) == 2
    assert capsys.readouterr().err.count("\n") == 1

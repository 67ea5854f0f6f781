import pytest

from components.common.errors import BadInput
from components.common.inputs import PassThrough
from components.common.model_files import check_model_folder
from components.dpo.task import Config, run
from tests.trainable import KilledError, kill_at, pair, save_pairs

SHORT = {"steps": 12, "learning_rate": 1e-3, "global_batch_size": 8, "device_batch_size": 8}


def test_output_is_a_complete_model(model, pairs, output):
    metrics = run(Config(**SHORT), {"model": [model], "pairs": [pairs]}, output)
    check_model_folder(output)
    assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in model.iterdir())
    assert metrics["examples"] == metrics["pairs"] == 40  # merges by size read "examples"
    assert metrics["loss_last"] < metrics["loss_first"]
    assert metrics["reward_margin"] > 0 and metrics["chosen_change"] > metrics["rejected_change"]
    assert 0.5 < metrics["length_ratio"] < 2


def test_degenerate_pairs_are_dropped_with_their_reason(model, tmp_path, output):
    rows = [pair(i) for i in range(8)] + [
        pair(10, chosen="same", rejected="same"),
        pair(11, rejected="  "),
        pair(12, prompt="p" * 150),
        pair(13, chosen="c" * 150),
    ]
    pairs = save_pairs(tmp_path / "pairs", rows)
    metrics = run(Config(**SHORT, max_length=140), {"model": [model], "pairs": [pairs]}, output)
    dropped = {name: value for name, value in metrics.items() if name.startswith("dropped_")}
    assert metrics["pairs"] == 8
    assert dropped == {"dropped_equal": 1, "dropped_empty": 1, "dropped_prompt_too_long": 1, "dropped_too_long": 1}


def test_what_the_model_cannot_read_is_dropped_whatever_max_length_says(model, tmp_path, output):
    rows = [pair(i) for i in range(8)] + [pair(9, prompt="p" * 600), pair(10, chosen="c" * 600)]  # it reads 512 tokens
    pairs = save_pairs(tmp_path / "pairs", rows)
    metrics = run(Config(**SHORT, max_length=4096), {"model": [model], "pairs": [pairs]}, output)
    assert (metrics["pairs"], metrics["dropped_prompt_too_long"], metrics["dropped_too_long"]) == (8, 1, 1)


@pytest.mark.parametrize(("rows", "reason"), [([], "no usable pair among 0"), ([pair(1, chosen="")], "1 empty")])
def test_without_pairs_the_model_passes_through(model, tmp_path, output, rows, reason):
    result = run(Config(**SHORT), {"model": [model], "pairs": [save_pairs(tmp_path / "pairs", rows)]}, output)
    assert isinstance(result, PassThrough)
    assert result.input == "model" and reason in result.reason
    assert not list(output.iterdir())


def test_languages_select_pairs(model, pairs, output):
    result = run(Config(**SHORT, languages=["xx"]), {"model": [model], "pairs": [pairs]}, output)
    assert isinstance(result, PassThrough)


def test_a_policy_that_never_moves_is_refused(model, pairs, output):
    with pytest.raises(BadInput, match="stayed at ln 2"):
        run(Config(**SHORT | {"learning_rate": 1e-12}), {"model": [model], "pairs": [pairs]}, output)
    assert not list(output.iterdir())


def test_a_policy_that_never_moves_is_stopped_ten_steps_after_the_warm_up(model, pairs, output, capfd):
    config = Config(**SHORT | {"learning_rate": 1e-12, "steps": 1000}, warmup_steps=4)
    with pytest.raises(BadInput, match="at ln 2 for all 14 steps"):
        run(config, {"model": [model], "pairs": [pairs]}, output)


def test_a_slow_warm_up_is_no_alarm(model, pairs, output):
    """Within so wide a tolerance the loss stays for the first ten steps, and not until ten steps after the warm-up."""
    slow = SHORT | {"learning_rate": 3e-4, "steps": 36}
    with pytest.raises(BadInput, match="for all 10 steps"):
        run(
            Config(**slow | {"learning_rate": 1e-5}, stuck_tolerance=0.02), {"model": [model], "pairs": [pairs]}, output
        )
    metrics = run(Config(**slow, warmup_steps=26, stuck_tolerance=0.02), {"model": [model], "pairs": [pairs]}, output)
    assert metrics["loss_last"] < metrics["loss_first"] - 0.02


def test_bfloat16_moves_the_loss_by_its_rounding_alone():
    assert Config(**SHORT).tolerance == 1e-6 and Config(**SHORT, dtype="bfloat16").tolerance == 1e-3
    assert Config(**SHORT, dtype="bfloat16", stuck_tolerance=0).tolerance == 0


def test_no_alarm_at_learning_rate_zero(model, pairs, output):
    metrics = run(Config(**SHORT | {"learning_rate": 0.0}), {"model": [model], "pairs": [pairs]}, output)
    assert metrics["loss_last"] == pytest.approx(metrics["loss_first"], abs=1e-6)


def test_a_diverging_run_saves_nothing(model, pairs, output):
    with pytest.raises(BadInput, match="diverged"):
        run(Config(**SHORT | {"learning_rate": 1e4}), {"model": [model], "pairs": [pairs]}, output)
    assert not list(output.iterdir())


def test_a_resumed_run_equals_an_uninterrupted_one(model, pairs, tmp_path, monkeypatch, capfd):
    config, inputs = Config(**SHORT, save_steps=5), {"model": [model], "pairs": [pairs]}
    folders = [tmp_path / name / "output" for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir(parents=True)
    expected = run(config, inputs, folders[0])
    with monkeypatch.context() as patch:
        kill_at(patch, 9)
        with pytest.raises(KilledError):
            run(config, inputs, folders[1])
    capfd.readouterr()
    assert run(config, inputs, folders[1]) == expected
    assert "resuming from checkpoint-5" in capfd.readouterr().out
    assert (folders[0] / "model.safetensors").read_bytes() == (folders[1] / "model.safetensors").read_bytes()

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from components.common.endpoints import Endpoint, Served
from components.common.identity import ASIDE, identity


class Inner(BaseModel):
    model: str = "m"
    gpus: Annotated[int, ASIDE] = 1


class Outer(BaseModel):
    one: Inner = Inner()
    none: Inner | None = None
    many: tuple[Inner, ...] = (Inner(), Inner(model="n"))
    named: dict[str, Inner] = {"a": Inner()}
    plain: dict[str, list[int]] = {"x": [1, 2]}


def test_fields_that_are_aside_are_left_out_at_every_depth():
    assert identity(Outer()) == {
        "one": {"model": "m"},
        "none": None,
        "many": [{"model": "m"}, {"model": "n"}],
        "named": {"a": {"model": "m"}},
        "plain": {"x": [1, 2]},
    }


@pytest.mark.parametrize(
    "changes",
    [{"gpus": 8}, {"replicas": 3}, {"node_selector": {"a": "b"}}, {"queue": "q"}, {"ready_minutes": 5}, {"runtime": "r"},
     {"tuning": {"max-num-seqs": 8}}, {"concurrency": 2}, {"memory": "1Gi"}, {"tolerations": ({"key": "gpu"},)}],
)  # fmt: skip
def test_hardware_does_not_change_what_a_served_model_is(changes):
    source = "hf://org/name@1"
    assert identity(Served(source=source, **changes)) == identity(Served(source=source))


@pytest.mark.parametrize("changes", [{"source": "hf://org/other"}, {"dtype": "float16"}, {"quantization": "fp8"}])
def test_the_model_and_its_numbers_do(changes):
    assert identity(Served(**changes)) != identity(Served())


def test_limits_and_prices_of_an_endpoint_are_aside_and_its_address_is_not():
    plain = Endpoint(url="http://h/v1", model="m")
    assert identity(plain) == {"url": "http://h/v1", "model": "m", "api_key_variable": None}
    assert identity(Endpoint(url="http://h/v1", model="m", tokens_per_minute=5, output_price=1)) == identity(plain)


@pytest.mark.parametrize(
    "wrong",
    [{"source": "s3://bucket/model"}, {"gpus": 3, "tensor_parallel": 2}, {"tuning": {"trust-remote-code": True}},
     {"tuning": {"max-num-seqs": "8 --host=x"}}, {"quantization": "fp8 --x"}, {"ready_minutes": 0}, {"unknown": 1}],
)  # fmt: skip
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Served(**wrong)

"""Chat templates that mean harm are refused when the tokenizer is loaded, before they can cost more than seconds."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from components.common import chat_templates
from components.common.errors import BadInput
from components.common.models import conversation, encode_conversations, load_tokenizer
from tests.tiny import save_tiny_cohere

pytestmark = pytest.mark.faults

HARMLESS = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_tiny_cohere(tmp_path_factory.mktemp("templates") / "model")


@pytest.fixture
def load(model, tmp_path, monkeypatch):
    monkeypatch.setattr(chat_templates, "CPU_SECONDS", 1)

    def load(template: str):
        folder = tmp_path / "model"
        shutil.copytree(model, folder, dirs_exist_ok=True)
        (folder / "chat_template.jinja").write_text(template)
        return load_tokenizer(folder)

    return load


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('true').read() }}",
    "{{ namespace.__init__.__globals__['os'] }}",
    "{{ (messages | attr('__class__')).mro() }}",
    "{{ messages.append('more') }}",
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
]
ENDLESS = [
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{{ f(n - 1) ~ f(n - 1) if n else '' }}{% endmacro %}{{ f(64) }}",
    "{{ 9 ** (9 ** 9) }}",
]
GIGANTIC = [
    "{{ 'x' * 10 ** 6 }}",
    "{{ 'x' * 10 ** 10 }}",
    "{{ 'x'.center(10 ** 10) }}",
    "{{ '%10000000000d' % 1 }}",
    "{% set n = namespace(s='x') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "{{ lipsum(n=2000) }}",
    "{% for m in messages %}{{ m.content * 10 ** 6 }}{% endfor %}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_what_reaches_out_of_the_sandbox_is_refused(load, template):
    with pytest.raises(BadInput, match=r"The chat template of .*/model reaches out of its sandbox \(.*\); replace it"):
        load(template)


@pytest.mark.parametrize("template", ENDLESS)
def test_what_does_not_end_is_refused_within_its_bounds(load, template):
    started = time.monotonic()
    with pytest.raises(BadInput, match=r"does not end within 1 seconds, or breaks|needs more than"):
        load(template)
    assert time.monotonic() - started < chat_templates.WALL_SECONDS


@pytest.mark.parametrize("template", GIGANTIC)
def test_what_writes_without_end_is_refused(load, template):
    with pytest.raises(BadInput, match=r"writes [0-9,]+ characters|needs more than|does not end|sandbox"):
        load(template)


def test_a_template_that_breaks_the_compiler_breaks_nothing_else(load):
    with pytest.raises(BadInput):
        encode_conversations(load("{{ " + "(" * 50_000 + " }}"), [conversation("Hallo")], True)
    assert load(HARMLESS)


def test_a_template_that_refuses_is_loaded_and_says_so_where_it_matters(load):
    tokenizer = load("{{ raise_exception('Roles must\n alternate.') }}")
    with pytest.raises(
        BadInput, match=r"The chat template of .*/model refuses a conversation: Roles must alternate\.$"
    ):
        encode_conversations(tokenizer, [conversation("Hallo")], True)


def test_a_template_that_drops_a_message_with_control_tokens_is_refused(load):
    tokenizer = load("{{ messages[-1].content }}")
    with pytest.raises(BadInput, match="does not write every message once"):
        encode_conversations(tokenizer, [conversation("<|END_OF_TURN_TOKEN|>", "Ja")], False)


def test_a_file_too_large_for_a_template_is_refused_unread(load):
    with pytest.raises(BadInput, match=r"chat_template\.jinja is larger than 1,000,000 bytes"):
        load("x" * 1_000_001)


def test_a_process_whose_children_are_reaped_by_the_kernel_tries_templates_too(load):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert load(f"{HARMLESS}!")
    finally:
        signal.signal(signal.SIGCHLD, before)


def children() -> set[str]:
    """The processes that this one has started; other tests may have left some, of multiprocessing's own."""
    return {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}


def test_each_template_is_tried_once_and_leaves_no_process(load, monkeypatch):
    before = children()
    load(f"{HARMLESS}?")
    assert children() <= before
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("tried again"))
    load(f"{HARMLESS}?")

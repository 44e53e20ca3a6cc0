"""Options of the command line: old names of renamed ones are accepted, and help shows present names."""

import re

import pytest
from typer.main import get_command

from scopeview.__main__ import cli
from scopeview.cli.options import OLD_OPTIONS
from tests.command import scopeview

RENAMED = [(command, old, new) for command, options in OLD_OPTIONS.items() for old, new in options.items()]
REQUIRED = {
    "index": ["source", "--model", "m", "--sae", "s", "--out", "o"],
    "train-clip": ["--out", "o"],
    "train-sae": ["source", "--model", "m", "--layers", "1", "--features", "8", "--out", "o"],
}
VALUES = {"--shared": "s3://bucket/x", "--start": "tokens", "--whole-every": "5", "--dead-after": "5"}


def parsed(command: str, *words: str) -> dict[str, object]:
    """The values that a command would be called with."""
    found = get_command(cli).commands[command]  # type: ignore[attr-defined]
    context = found.make_context(command, [*REQUIRED[command], *words])
    values: dict[str, object] = context.params
    return values


@pytest.mark.parametrize(("command", "old", "new"), RENAMED)
def test_a_renamed_option_means_the_same_by_its_old_name(command: str, old: str, new: str) -> None:
    value = VALUES.get(old, "0.3")
    present = parsed(command, new, value)
    assert present != parsed(command)
    assert parsed(command, old, value) == present
    assert parsed(command, f"{old}={value}") == present


@pytest.mark.parametrize("command", REQUIRED)
def test_resume_is_accepted_though_runs_always_resume(command: str) -> None:
    assert parsed(command, "--resume") == parsed(command)


@pytest.mark.parametrize("command", REQUIRED)
def test_help_shows_present_names_alone(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ended = scopeview(command, "--help")
    assert ended.code == 0
    shown = set(re.findall(r"--[a-z][a-z0-9-]*", ended.out))
    assert "--resume" not in shown
    for old, new in OLD_OPTIONS[command].items():
        assert old not in shown
        assert new in shown


def test_every_option_is_explained() -> None:
    commands = get_command(cli).commands  # type: ignore[attr-defined]
    nested = [*commands.values(), *commands["eval"].commands.values()]
    silent = [
        f"{command.name} {option.name}"
        for command in nested
        for option in command.params
        if not getattr(option, "hidden", False) and not getattr(option, "help", None)
    ]
    assert silent == []

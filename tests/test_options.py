"""options.py: the command line and its twins in the environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simdinstall import cli, options
from simdinstall.errors import EXIT_CODES, UsageError


def test_every_command_is_found_in_its_module() -> None:
    listed = {name for names in cli.MODULES.values() for name in names} | {"completion"}
    assert listed == {command.name for command in cli.all_commands()}


def test_without_a_command_it_is_install() -> None:
    assert cli.parse([], {}).command == "install"
    assert cli.parse(["--march", "auto"], {}).command == "install"
    assert cli.parse(["status"], {}).command == "status"


def test_a_word_that_is_no_command_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="no command 'instal'") as refusal:
        cli.parse(["instal"], {})
    assert "install" in refusal.value.hint


def test_unknown_options_and_abbreviations_are_refused() -> None:
    for argv in (["--bogus"], ["--marc", "auto"], ["install", "extra"]):
        with pytest.raises(UsageError, match="unrecognized"):
            cli.parse(argv, {})


def test_variables_are_defaults_and_the_command_line_wins() -> None:
    environ = {"SIMDINSTALL_MARCH": "x86-64-v2", "SIMDINSTALL_PYTHON": "~/env", "SIMDINSTALL_YES": "1"}
    arguments = cli.parse([], environ)
    assert (arguments.march, arguments.yes) == ("x86-64-v2", True)
    assert arguments.python == Path("~/env").expanduser()
    assert cli.parse(["--march", "portable"], environ).march == "portable"


@pytest.mark.parametrize("value", ["0", "no", "off", "", "false"])
def test_a_switch_can_be_off_in_the_environment(value: str) -> None:
    assert cli.parse([], {"SIMDINSTALL_YES": value}).yes is False


@pytest.mark.parametrize(
    ("variable", "value"), [("SIMDINSTALL_YES", "perhaps"), ("SIMDINSTALL_FIDELITY", "approximate")]
)
def test_a_wrong_variable_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{variable}={value}"):
        cli.parse([], {variable: value})


def test_a_wrong_choice_is_refused() -> None:
    with pytest.raises(UsageError, match="invalid choice"):
        cli.parse(["--fidelity", "approximate"], {})


def test_every_option_names_its_variable_in_the_help() -> None:
    parser = cli.build_parser({})
    commands = next(action for action in parser._actions if action.dest == "command").choices
    assert commands is not None
    for command in commands.values():  # type: ignore[union-attr]
        for action in command._actions:
            if action.option_strings and action.dest != "help":
                variable = options.variable_of(action.option_strings[0])
                assert variable in (action.help or ""), action


def test_the_help_documents_every_exit_code() -> None:
    text = cli.build_parser({}).format_help()
    for code in EXIT_CODES:
        assert re.search(rf"^ +{code}  ", text, re.MULTILINE)


def test_the_readme_documents_every_exit_code_and_command() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for code in EXIT_CODES:
        assert f"\n| {code} |" in readme
    for command in (command.name for command in cli.all_commands()):
        assert command == "install" or f"simdinstall {command}" in readme


def test_how_long_an_index_is_believed() -> None:
    assert cli.parse([], {}).index_lifetime == 600
    assert cli.parse(["status"], {"SIMDINSTALL_INDEX_LIFETIME": "0"}).index_lifetime == 0
    for wrong in ("-1", "nan", "inf", "soon"):
        with pytest.raises(UsageError, match=f"SIMDINSTALL_INDEX_LIFETIME={wrong}"):
            cli.parse([], {"SIMDINSTALL_INDEX_LIFETIME": wrong})

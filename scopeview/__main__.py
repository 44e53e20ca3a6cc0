"""The command line: registers the commands and turns errors into exit codes.

Exit codes: 0 done, 1 the run failed, 2 wrong input or configuration, 3 too many bad images, 130 stopped by
Ctrl-C, 143 stopped by SIGTERM.
"""

import sys
from typing import Annotated

import typer

from scopeview.cli import evaluation, indexing, serving, training
from scopeview.cli.options import OLD_OPTIONS, command_class
from scopeview.errors import ScopeviewError
from scopeview.signals import ReceivedSignal, Stopped, sigterm_as_interrupt

cli = typer.Typer(
    name="scopeview",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See what a vision transformer sees: index images by the features that sparse autoencoders find,"
    " and browse them.",
)
evaluate = typer.Typer(no_args_is_help=True, help="Measure models and features on scenes of known content.")
cli.add_typer(evaluate, name="eval")

for _command in (
    indexing.index,
    indexing.describe,
    indexing.calibrate,
    indexing.verify,
    indexing.info,
    serving.serve,
    serving.demo,
    training.demo_images,
    training.train_clip,
    training.train_sae,
):
    _name = _command.__name__.replace("_", "-")
    cli.command(_name, cls=command_class(OLD_OPTIONS.get(_name, {})))(_command)
evaluate.command(name="clip")(evaluation.evaluate_clip)
evaluate.command(name="features")(evaluation.evaluate_features)
evaluate.command(name="search")(evaluation.evaluate_search)
evaluate.command(name="heat")(evaluation.evaluate_heat)


@cli.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    from scopeview import __version__

    if version:
        typer.echo(__version__)
        raise typer.Exit


_INTERRUPTED = 130  # typer's exit code after Ctrl-C: 128 + SIGINT
_STOPPED = "stopped"  # if no command says more


def main() -> None:
    """Runs the command line and ends the process with the error's exit code."""
    with sigterm_as_interrupt() as noted:
        _run(noted)


def _run(noted: ReceivedSignal) -> None:
    try:
        cli()
    except ScopeviewError as error:
        _fail(str(error), error.exit_code)
    except Stopped as stopped:
        _fail(str(stopped), noted.exit_code)
    except KeyboardInterrupt:
        _fail(_STOPPED, noted.exit_code)
    except SystemExit as ended:  # typer exits after Ctrl-C without a message
        if ended.code == _INTERRUPTED:
            _fail(_STOPPED, noted.exit_code)
        raise
    except OSError as error:
        _fail(f"{error.filename or 'the file system'}: {error.strerror or error}", 1)


def _fail(message: str, exit_code: int) -> None:
    typer.echo(f"scopeview: {message}", err=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()

"""The command line: every verb on one page, and how each way of failing ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from ..domain.errors import LedgerError, StoreLockedError
from .terminal.output import say
from .verbs import administering, auditing, deploying, documents, export, log, processes, showing
from .verbs.asking import ExitCode, code_of_http, sentence
from .wire.shapes import ProblemError, UnreachableError

NO_INPUT = "--no-input"
PLAIN = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


app = typer.Typer(
    name="shipslog",
    context_settings=PLAIN,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)
GROUPS = {
    "token": typer.Typer(help="Make out, list and revoke tokens.", rich_markup_mode=None),
    "db": typer.Typer(help="Make, upgrade, check and look at the store.", rich_markup_mode=None),
}


def _add(function: Callable[..., Any], name: str, *examples: str, hidden: bool = False) -> None:
    """Add a verb, or a verb of a group (`token create`)."""
    group, _, verb = name.rpartition(" ")
    said = "\n".join(f"  shipslog {example}" for example in examples)
    GROUPS.get(group, app).command(
        verb,
        short_help=(function.__doc__ or "").partition("\n")[0],
        epilog=f"\b\nExamples:\n{said}" if examples else None,
        hidden=hidden,
        context_settings=PLAIN,
    )(function)


_add(processes.up, "up", "up", "up --listen 127.0.0.1:8500 --data ./ledger")
_add(processes.serve, "serve", "serve --listen 0.0.0.0:8470")
_add(processes.worker, "worker", "worker")
_add(processes.agent, "agent", "agent --data ./ledger --stop", hidden=True)
_add(documents.apply, "apply", "apply staging.yaml web.yaml", "apply pipeline.py")
_add(documents.plan, "plan", "plan web 1.4.0 staging")
_add(
    deploying.deploy,
    "deploy",
    "deploy web 1.4.0 staging --watch",
    "deploy web 1.4.0 staging --wait --timeout 10m --json",
)
_add(showing.get, "get", "get ID", "get ID --watch --timeout 10m", "get ID --as-of 4711 --json")
_add(showing.status, "status", "status ID")
_add(showing.list_deployments, "list", "list --environment staging --status running")
_add(showing.where, "where", "where", "where --as-of 2026-11-03T14:03:00Z")
_add(showing.history, "history", "history staging web")
_add(log.events, "events", "events --topic deployment.failed", "events --follow --json")
_add(showing.printed, "output", "output ID build")
for _action in deploying.ACTIONS:
    _add(
        deploying.approve if _action == "approve" else deploying.acting(_action),
        _action,
        f'{_action} ID --reason "as agreed"',
    )
_add(
    auditing.replay,
    "replay",
    "replay ID",
    "replay ID --as-of 2026-11-03T14:03:00Z --json",
    "replay target:staging/web",
    "replay --all",
    "replay --check",
)
_add(auditing.verify, "verify", "verify")
_add(auditing.rebuild, "rebuild", "rebuild", "rebuild --stream target:staging/web")
_add(
    export.export,
    "export",
    "export --from 2026-10-01T00:00:00Z --until 2026-12-31T23:59:59Z -o quarter.ndjson",
    "export --format csv --environment production --topic deployment. -o changes.csv --resume",
    "export --check quarter.ndjson quarter.ndjson.manifest.json",
)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name, context_settings=PLAIN)
_add(
    administering.create_token,
    "token create",
    "token create alice --role deployer",
    "token create service:ci --role deployer --expires 30d --json",
)
_add(administering.list_tokens, "token list", "token list")
_add(administering.revoke_token, "token revoke", "token revoke ID")
_add(administering.database_create, "db create", "db create")
_add(administering.database_upgrade, "db upgrade", "db upgrade")
_add(administering.database_check, "db check", "db check")
_add(administering.database_status, "db status", "db status", "db status --json")
_add(administering.database_accept, "db accept", "db accept")


@app.callback(
    invoke_without_command=True,
    help="A deployment ledger that also does the deploying.",
    epilog="Begin with `shipslog up`, then `shipslog apply FILE`, then `shipslog deploy`.",
)
def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    no_input: Annotated[bool, typer.Option(NO_INPUT, help="Ask nothing; no verb does.")] = False,  # noqa: ARG001
) -> None:
    """Show the version or the help where no verb is given."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"shipslog {installed('shipslog')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(ExitCode.REFUSED)


def main() -> None:
    """Run the verb that was asked for, and end with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a verb and return its exit code; whatever goes wrong is one line on stderr."""
    # It may stand behind any verb, too.
    arguments = [argument for argument in arguments if argument != NO_INPUT]
    try:
        code = app(arguments, prog_name="shipslog", standalone_mode=False)
    except TyperException as error:
        return _fail(f"{error.format_message()} ({_usage(error)})", error.exit_code)
    except ProblemError as error:
        return _fail(sentence(error), code_of_http(error.status))
    except UnreachableError as error:
        return _fail(f"{error}. `shipslog up` starts one.", ExitCode.FAILED)
    except StoreLockedError as error:
        return _fail(str(error), ExitCode.CONFLICT)
    except LedgerError as error:
        from .problems import status_of

        return _fail(str(error), code_of_http(status_of(error)))
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error}{place}", ExitCode.FAILED)
    except (typer.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except Exception as error:
        if "SHIPSLOG_DEBUG" in os.environ:
            raise
        return _fail(f"This is a fault of ours: {error!r}. SHIPSLOG_DEBUG=1 shows where.", 1)
    return int(code or ExitCode.DONE)


def _fail(why: str, code: int) -> int:
    say(f"shipslog: {why}")
    return code


def _usage(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"see {context.command_path if context else 'shipslog'} --help"

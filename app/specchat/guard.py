"""What ends a command: its exit code, a typed error, Ctrl+C or a closed stdout; never a traceback for any of these."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

OK, INTERRUPTED = 0, 130
P = ParamSpec("P")


def guarded(command: Callable[P, int]) -> Callable[P, None]:
    """The command as typer calls it: what it returns or raises becomes the exit code of the process, unless that is 0."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        code = _exit_code(lambda: command(*args, **kwargs))
        if code == INTERRUPTED:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if code != OK:
            raise typer.Exit(code)

    return run


def _exit_code(work: Callable[[], int]) -> int:
    from specchat.console import report, say
    from specdec.errors import SpecError

    try:
        code = work()
        sys.stdout.flush()
    except SpecError as error:
        report(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return OK
    except OSError as error:
        _forget_stdout()
        say(f"{error.filename or 'Output'}: {error.strerror}.")
        return 1
    return code


def _forget_stdout() -> None:
    """Keep the interpreter from writing what is still buffered to a stdout that takes nothing more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""The command `funcnet`, also `python -m funcnet`: from a command line to an exit code.

    0     done
    1     the loss became infinite or NaN, and the last good checkpoint is kept; or a gradient is not right
    2     a wrong flag, value, file or run folder; an operation without a gradient; or the code that a command
          was given raised or exited, and its own traceback stands above the line
    130   interrupted by Ctrl-C, after saving
    141   nobody reads the output any more (`| head`)

Whatever is not 0 or 141 ends with one line on stderr that says what came, what is allowed and what to
do; what is wrong with a gradient takes several. An exception of another kind is a bug in funcnet, and shows
its traceback.

tyro reads the flags off the dataclasses in `funcnet.cli`. It reports a mistake in a box of several
lines and exits; what stands in that box becomes the line here.
"""

import contextlib
import difflib
import io
import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, get_args

import tyro

from funcnet import __version__
from funcnet._errors import FuncnetError, NonFiniteError, ParameterError, UserCodeError, VJPCheckError
from funcnet.cli import Command, Train
from funcnet.cli.foreign import theirs
from funcnet.train import Config, read_config
from funcnet.train.models.presets import PRESETS

_FIRST_WORDS = [*(command.__name__.lower() for command in get_args(Command)), "-h", "--help", "--version"]
_FRAME = "".join(map(chr, range(0x2500, 0x2580))) + "| "  # what Unicode draws boxes with, and ASCII


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, by default the one that started this process, and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no × shows a ?
    try:
        try:
            command = parse(sys.argv[1:] if argv is None else argv)
            command()
        finally:
            sys.stdout.flush()
    except VJPCheckError as error:
        print(error, file=sys.stderr)
        return 1
    except NonFiniteError as error:
        return _fail(1, str(error))
    except UserCodeError as error:
        if error.__cause__ and not isinstance(error.__cause__, SystemExit):
            print(theirs(error.__cause__), file=sys.stderr)
        return _fail(2, str(error))
    except FuncnetError as error:
        return _fail(2, str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails once more
        return 141
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(2, f"{error.filename}: {error.strerror}. Check the path and its permissions.")
    except KeyboardInterrupt as interrupt:
        return _fail(130, str(interrupt) or "interrupted.")
    return 0


def _fail(code: int, message: str) -> int:
    """The code, after the message on one line."""
    print("funcnet:", *message.split(), file=sys.stderr)
    return code


def parse(argv: Sequence[str]) -> Command:
    """The command that a command line asks for.

    A line with `--resume RUN` or `--net NET` is read twice, the second time over that run's own settings or
    those of `PRESETS`: a flag that is not given means what it means there.

    Raises:
        ParameterError: there is no such command, flag or value.
        CheckpointError: the run to resume is none.
        SystemExit: help or the version was asked for, and has been printed.

    >>> parse(["train", "--hidden", "512", "256"]).config.hidden
    (512, 256)
    >>> parse(["train", "--hiden", "512"])
    Traceback (most recent call last):
    funcnet._errors.ParameterError: --hiden 512: unknown; did you mean --hidden? See `funcnet train --help`.
    """
    if list(argv[:1]) == ["--version"]:
        print(f"funcnet {__version__}")
        raise SystemExit(0)
    if argv and argv[0] not in _FIRST_WORDS:
        raise ParameterError(_unknown(argv[:1], _FIRST_WORDS, "See `funcnet --help`."))
    for flag, word in zip(["", *argv], argv, strict=False):
        if not word.rpartition("=")[2].strip():
            flag = word.strip(" =") or (flag if flag.startswith("--") else "a word")
            raise ParameterError(f"{flag}: empty; expected a value. See `funcnet {argv[0]} --help`.")
    command = _parse(argv)
    if not isinstance(command, Train):
        return command
    if command.resume:
        return _parse(argv, default=replace(command, config=read_config(command.resume)))
    preset = PRESETS[command.config.net]
    return command if preset == Config() else _parse(argv, default=replace(command, config=preset))


def _parse(argv: Sequence[str], default: Any = tyro.MISSING_NONPROP) -> Command:
    """The command; what the line leaves open is taken from `default`."""
    see_help = f"See `{' '.join(['funcnet', *argv[:1], '--help'])}`."
    box = io.StringIO()
    try:
        with contextlib.redirect_stdout(box), contextlib.redirect_stderr(box):  # tyro asks stdout for colours
            command, unknown = _read(argv, default)
    except SystemExit as end:
        if end.code == 0:
            _read(argv, default)  # exits again, now with the help on the terminal
        said = _sentences(box.getvalue()) or f"{' '.join(argv)}: not understood"
        raise _own_error(end) or ParameterError(f"{said}. {see_help}") from None
    if unknown:
        raise ParameterError(_unknown(unknown, _flags(command), see_help))
    return command


def _read(argv: Sequence[str], default: Any) -> tuple[Command, list[str]]:
    """What tyro makes of a command line, and the words that it does not know."""
    return tyro.cli(
        Command,
        prog="funcnet",
        description="Train neural networks, use them, check gradients, draw them, say what they keep. "
        "`funcnet --version` tells the version.",
        args=argv,
        default=default,
        return_unknown_args=True,
        config=[tyro.conf.OmitSubcommandPrefixes],
    )


def _own_error(end: SystemExit) -> FuncnetError | None:
    """The error of funcnet's own under which tyro gave up, if there is one."""
    error: BaseException | None = end
    while error and not isinstance(error, FuncnetError):
        error = error.__context__
    return error


def _sentences(box: str) -> str:
    """What stands in a box of tyro's, without its title and the paragraph that points to the help."""
    title, _, text = box.strip().partition("\n")
    lines = (line.strip(_FRAME) if line.strip(_FRAME + "-+=") else "" for line in text.splitlines())
    paragraphs = [" ".join(part) for is_text, part in itertools.groupby(lines, bool) if is_text]
    said = [paragraph for paragraph in paragraphs if "--help" not in paragraph] or [title.strip(_FRAME)]
    return ". ".join(" ".join(paragraph.split()).strip(" .") for paragraph in said)


def _unknown(words: Sequence[str], known: Iterable[str], see_help: str) -> str:
    name = words[0].partition("=")[0].replace("_", "-")
    similar = difflib.get_close_matches(name, known, n=1)
    return f"{' '.join(words)}: unknown{f'; did you mean {similar[0]}?' if similar else '.'} {see_help}"


def _flags(command: Any) -> Iterator[str]:
    """The flags that a command has, those of its settings among them."""
    for field in fields(command):
        value = getattr(command, field.name)
        if is_dataclass(value):
            yield from _flags(value)
        elif field.default is not MISSING:
            yield f"--{field.name.replace('_', '-')}"


if __name__ == "__main__":
    sys.exit(main())

"""Flags parsed by tyro, whose complaints become one line."""

import contextlib
import difflib
import io
import itertools
import re


def parsed_by_tyro(arguments, default, description, flags):
    """A record like `default` with the fields that the list `arguments` gives.

    `--help` prints and exits. Raises ValueError, in a line, for what cannot be parsed or the record refuses; `flags`
    are names of fields that an unknown flag may have meant.
    """
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                type(default),
                prog='flax-dynconv train',
                description=description,
                args=list(arguments),
                default=default,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(_one_line(said.getvalue(), flags)) from end


def _one_line(text, flags):
    """What tyro says in a box, up to its first rule, without the box; and flags that are close to an unknown one."""
    # Colours and marks are for terminals; where there is no UTF-8, boxes are rules under and after the title.
    text = re.sub(r'\x1b\[[0-9;]*m|\[/?bold\]', '', text)
    lines = [line.strip('│ ') for line in text.splitlines()[1:]]
    lines = itertools.dropwhile(_is_rule, lines)
    message = ' '.join(' '.join(itertools.takewhile(lambda line: not _is_rule(line), lines)).split())
    # Checks of the settings name their field themselves.
    message = re.sub(r'^Error parsing [\w.][\w. ]*: ', '', message)
    if message.startswith('Unrecognized'):
        known = [f'--{name.replace("_", "-")}' for name in flags]
        for unknown in re.findall(r'--[\w-]+', message):
            if close := difflib.get_close_matches(unknown.replace('_', '-'), known, n=2):
                message += f'; did you mean {" or ".join(close)}?'
    return message


def _is_rule(line):
    return bool(line) and set(line) <= set('─-╰╯')

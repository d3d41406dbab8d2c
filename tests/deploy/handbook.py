"""Each command line of ours in the handbook and in the container file is one that the binary knows, with
the options that it has; each link leads somewhere; each manifest that is named is there."""

import re
import shlex

from facts import BINARY, DEPLOY, ROOT, fact, run, unavailable
from monitoring import anchor


BLOCK = re.compile(r"^ *```[a-z]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def check():
    text = (DEPLOY / "HANDBOOK.md").read_text()
    sections = {anchor(title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    for link in re.findall(r"\]\(#([^)]*)\)", text):
        fact(f"handbook: section {link}", link in sections)
    for link in re.findall(r"\]\((?!#|https:)([^)#]*)", text):
        fact(f"handbook: file {link}", (DEPLOY / link).exists())
    for path in sorted(set(re.findall(r"\b(?:deploy|tests|src)/[\w./-]*\w", text))):
        fact(f"handbook: {path} is there", (ROOT / path).exists())
    commands = sorted(set(command_lines(text)))
    fact("handbook: it has commands", len(commands) > 10, str(commands))
    if not BINARY.exists():
        unavailable("handbook: its commands", f"{BINARY.name} is not built")
        return
    helps = {}
    for words in commands:
        wrong = misused(shlex.split(words), helps)
        fact(f"handbook: {words}", not wrong, wrong)


def command_lines(text):
    """`calendar-sync …` in code: whole lines of blocks, with the next ones that they go on in, and spans."""
    code = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    code += re.findall(r"`([^`]+)`", BLOCK.sub("", text))
    for line in code:
        # Where it runs does not matter: in a pod, by a shorthand, after a pipe.
        found = re.search(r"(?:^\s*|[|(]\s*|-- |\$ )(?:calendar-sync|cs)(?= [a-z])(.*)", line.replace("\n", " "))
        if found:
            yield re.split(r"\s#|[|;>)]|&&", found[1])[0].strip()


def misused(words, helps):
    """What the binary would not take of these words; empty if all is well."""
    path, rest = [], list(words)
    while rest and re.fullmatch(r"[a-z][a-z-]*", rest[0]) and rest[0] in subcommands(path, helps):
        path.append(rest.pop(0))
    if subcommands(path, helps):
        return f"no such command: {' '.join(words)}"
    text = helped(path, helps)
    for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
        if not re.search(rf"{re.escape(option)}(?![\w-])", text):
            return f"`{' '.join(path)}` has no option {option}"
    return ""


def subcommands(path, helps):
    text = helped(path, helps)
    listed = re.search(r"^Commands:\n(.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^  ([a-z][a-z-]*)", listed[1], re.MULTILINE)) - {"help"} if listed else set()


def helped(path, helps):
    key = tuple(path)
    if key not in helps:
        helps[key] = run(BINARY, *path, "--help").stdout
    return helps[key]

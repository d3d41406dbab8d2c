"""Each command line of ours in the handbook and in the container file is one that the binary knows, with
the options that it has; each link leads somewhere; each manifest that is named is there, and so is each object
and each Secret in the overlay for production."""

import re
import shlex

from facts import BINARY, DEPLOY, ROOT, attempt, fact, run, unavailable
from manifests import mounted, render
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
    attempt("handbook", cluster_facts, text, render(DEPLOY / "kustomize/overlays/prod"))
    commands = sorted(set(command_lines(text)))
    fact("handbook: it has commands", len(commands) > 10, str(commands))
    if not BINARY.exists():
        unavailable("handbook: its commands", f"{BINARY.name} is not built")
        return
    helps = {}
    for words in commands:
        wrong = misused(shlex.split(words), helps)
        fact(f"handbook: {words}", not wrong, wrong)


def cluster_facts(text, objects):
    """What is named of the cluster is what the overlay for production puts there, or asks for."""
    there = {(thing["kind"].lower(), thing["metadata"]["name"]) for thing in objects}
    version = re.search(r"^version=(\S+)", text, re.MULTILINE)[1]
    named = re.findall(r"\b(deployment|job|scaledobject|service)/([a-z0-9-]+(?:\$version)?)", text)
    named = {(kind, name.replace("$version", version)) for kind, name in named}
    fact("handbook: what it names in the cluster is there", len(named) > 3 and named <= there, str(named - there))
    first = next(thing for thing in objects if thing["kind"] == "Namespace")["metadata"]["labels"]
    made = "--selector app.kubernetes.io/component=" + first["app.kubernetes.io/component"]
    fact("handbook: the namespace is made before anything goes into it",
         0 < text.find(made) < text.find("deploy/kustomize/kafka/") < text.find("| Secret |"), made)
    # A Job that has failed is not made anew by applying it.
    upgrade = re.search(r"^## Upgrade$(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    waited = re.findall(r"kubectl .*\bwait .*?(job/\S+)", upgrade)
    removed = re.findall(r"kubectl .*\bdelete (job/\S+)", upgrade)
    fact("handbook: the Job that is waited for is deleted before it is tried again", waited and waited == removed,
         f"{waited} {removed}")
    given = {
        (name, key)
        for name, keys in re.findall(r"^ *\| `(calendar-sync[a-z-]*)` \| (.*) \|$", text, re.MULTILINE)
        for key in re.findall(r"`([A-Za-z_.]+)`", re.sub(r"\(.*?\)|role `\w+`", "", keys))
    }
    used, files = set(), set()
    for thing in (thing for thing in objects if thing["kind"] in ("Deployment", "Job")):
        pod = thing["spec"]["template"]["spec"]
        references = [variable.get("valueFrom", {}).get("secretKeyRef") for variable in pod["containers"][0]["env"]]
        used |= {(each["name"], each["key"]) for each in references if each}
        used |= {secret for secret in mounted(pod).values() if secret[1]}
        files |= {name for name, key in mounted(pod).values() if not key}
    # Of a Secret that is mounted whole, it says which keys may be there.
    given_files = {secret for secret in given if secret[0] in files}
    fact("handbook: the Secrets that it asks for are those that are used, key by key",
         given - given_files == used and {name for name, _ in given_files} == files, str((given - given_files) ^ used))


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

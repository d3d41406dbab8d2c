"""What our adapters have sent in the tests, as the emulators have recorded it (EMULATOR_RECORD_DIR), and
the judging of it: every request, what was to be seen, and requests made wrong on purpose, each of
which must be refused, or a checker has proved nothing.
"""

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

# So many refusals of a kind are shown.
SHOWN_MAX = 3


class Refused(Exception):
    """Why a request is none that the provider would take."""


def demand(holds, why):
    if not holds:
        raise Refused(why)


@dataclass(frozen=True)
class Request:
    api: str
    method: str
    path: str
    query: str
    authorization: str | None
    content_type: str | None
    if_match: str | None
    prefer: tuple[str, ...]
    body: str | None

    def json(self):
        """The body, read strictly."""
        return json.loads(self.body, object_pairs_hook=_object, parse_constant=_constant)


def _object(pairs):
    names = Counter(name for name, _ in pairs)
    twice = [name for name, times in names.items() if times > 1]
    demand(not twice, f"names said twice: {twice}")
    return dict(pairs)


def _constant(name):
    raise Refused(f"{name} is no JSON")


@dataclass(frozen=True)
class Control:
    """A recorded request of a kind, made wrong, and a word that its refusal must say."""

    name: str
    kind: str
    change: object
    word: str


def body(change):
    """The same request, its body changed."""

    def changed(request):
        event = json.loads(request.body)
        change(event)
        return replace(request, body=json.dumps(event))

    return changed


def fields(**values):
    """With these fields; `start__date` is the field of a field, and `...` takes one away."""

    def change(event):
        for name, value in values.items():
            *way, last = name.split("__")
            place = event
            for step in way:
                place = place[step]
            if value is ...:
                del place[last]
            else:
                place[last] = value

    return body(change)


def query(text):
    return lambda request: replace(request, query=text)


def ill_formed(write, patch, field):
    """Requests that no JSON API takes. `write` and `patch` are kinds with a body that begins an object,
    `field` is a name in the first."""
    return [
        Control(
            "a name twice",
            write,
            lambda it: replace(it, body=f'{{"{field}":"a",' + it.body[1:]),
            "said twice",
        ),
        Control("half a body", write, lambda it: replace(it, body=it.body[:-1]), ""),
        Control("another type", write, lambda it: replace(it, content_type="text/plain"), "not JSON"),
        Control(
            "an unguarded patch", patch, lambda it: replace(it, if_match=None), "without If-Match"
        ),
    ]


def load(directory, api):
    """Each distinct request of all processes. A line without an end is of a process that was killed."""
    found = {}
    for path in sorted(Path(directory).glob("*.ndjson")):
        lines = path.read_text(encoding="utf-8").split("\n")
        for line in lines[:-1]:
            fields = json.loads(line)
            request = Request(**{**fields, "prefer": tuple(fields["prefer"])})
            if request.api == api:
                found[request] = None
    return list(found)


def shape(value):
    """The names of a body's fields, and which of them are null."""
    if isinstance(value, dict):
        fields = (f"{name}{shape(field)}" for name, field in sorted(value.items()))
        return "{" + " ".join(fields) + "}"
    return "=null" if value is None else ""


def group(request, kind):
    try:
        body = "" if request.body is None else f" {shape(request.json())}"
    except (Refused, ValueError):
        body = " a body that is no JSON"
    return f"{kind}{' If-Match' if request.if_match else ''}{body}"


def verdict(directory, api, kind_of, judge, demanded, controls):
    """Judges all of it, and prints the results; answers whether all is as it should be.

    kind_of(request) names a request's kind, judge(requests) gives for each why it is refused, or None.
    """
    requests = load(directory, api)
    kinds = [kind_of(request) for request in requests]
    first = {}
    for request, kind in zip(requests, kinds):
        first.setdefault(kind, request)
    wrong = [(it, it.change(first[it.kind])) for it in controls if it.kind in first]
    refusals = judge(requests + [request for _, request in wrong])
    passed = failed = 0

    for kind in demanded:
        if kind in first:
            passed += 1
        else:
            failed += 1
            print(f"not seen: {kind}")

    groups = {}
    for request, kind, refusal in zip(requests, kinds, refusals):
        groups.setdefault(group(request, kind), []).append((request, refusal))
    for name, members in sorted(groups.items()):
        refused = [(request, why) for request, why in members if why is not None]
        if not refused:
            passed += 1
            print(f"{name}: {len(members)}")
            continue
        failed += 1
        print(f"{name}: {len(refused)} of {len(members)} refused")
        for request, why in refused[:SHOWN_MAX]:
            print(f"  {why}\n    {request}")

    for (control, request), refusal in zip(wrong, refusals[len(requests) :]):
        if refusal is not None and control.word in refusal:
            passed += 1
        else:
            failed += 1
            print(f"on purpose: {control.name}: {refusal or 'not refused'}\n    {request}")
    for control in controls:
        if control.kind not in first:
            failed += 1
            print(f"on purpose: {control.name}: there is no {control.kind} to be made wrong")

    print(f"{api}: {len(requests)} distinct requests, {len(groups)} kinds, {len(wrong)} made wrong")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed == 0

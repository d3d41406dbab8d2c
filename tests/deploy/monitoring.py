"""Alerts and dashboard: rules by promtool, each alert with a test and a section in the handbook, and each
query of the dashboard parsed. That the metrics exist is held by the Rust tests, against the registry."""

import json
import os
import pathlib
import re
import shutil
import tempfile

import yaml

from facts import DEPLOY, ROOT, command, fact, run

COMPONENT = DEPLOY / "kustomize/components/monitoring"
TESTS = ROOT / "tests/deploy/rules"
PROMTOOL = os.environ["DEPLOY_PROMTOOL"]
SEVERITIES = {"critical", "warning", "ticket"}

# What Grafana puts in place of its own variables when it asks.
VARIABLES = {"$__rate_interval": "1m", "$namespace": ".*"}


def check():
    rules = yaml.safe_load((COMPONENT / "rules.yaml").read_text())["spec"]
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "rules.yaml").write_text(yaml.safe_dump(rules))
        command("rules: promtool", PROMTOOL, "check", "rules", "--lint=all", "--lint-fatal",
                directory / "rules.yaml")
        test_rules(directory)
        dashboard(directory)
    alerts(rules)
    classes()


def test_rules(directory):
    for path in sorted(TESTS.glob("*.yaml")):
        shutil.copy(path, directory)
        command(f"rules: {path.name}", PROMTOOL, "test", "rules", path.name, cwd=directory)


def alerts(rules):
    """Each alert says what it means and where to read on, fires in a test, and is silent in another."""
    fires, silent = tested()
    handbook = (DEPLOY / "HANDBOOK.md").read_text()
    sections = {anchor(title) for title in re.findall(r"^#+ (.*)$", handbook, re.MULTILINE)}
    names = set()
    for rule in (rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule):
        name, notes = rule["alert"], rule["annotations"]
        names.add(name)
        fact(f"{name}: a severity", rule["labels"]["severity"] in SEVERITIES)
        fact(f"{name}: summary, description, runbook",
             set(notes) == {"summary", "description", "runbook_url"} and all(notes.values()))
        page, _, section = notes["runbook_url"].partition("#")
        fact(f"{name}: its section in the handbook", page.endswith("deploy/HANDBOOK.md")
             and section in sections and section == anchor(name), section)
        used = set(re.findall(r"\$labels\.(\w+)", " ".join(notes.values())))
        fact(f"{name}: a test in which it fires, with the labels that its words use",
             any(used <= labels for labels in fires.get(name, [])), f"uses {used}")
        fact(f"{name}: a test in which it is silent", name in silent)
    fact("tests: of alerts that there are", set(fires) | silent == names, str((set(fires) | silent) ^ names))


def classes():
    """The classes of dead letters that are named are those of the README."""
    readme = (ROOT / "README.md").read_text()
    told = re.search(r"^Dead letters by class: (.*?)\n\n", readme, re.MULTILINE | re.DOTALL)[1]
    there = set(re.findall(r"`(\w+)`", told))
    ours = [COMPONENT / "rules.yaml", COMPONENT / "dashboard.json", DEPLOY / "HANDBOOK.md"]
    for path in (*ours, *sorted(TESTS.glob("*.yaml"))):
        named = set(re.findall(r"""\bclass(?:!?=\\?"|="| )(\w+)(?=\\?"|\.?",)|--class (\w+)""", path.read_text()))
        strange = {one or other for one, other in named} - there
        fact(f"{path.name}: classes of dead letters that there are", not strange, str(strange))


def tested():
    """The alerts that tests expect to fire, with their labels, and those that they expect not to."""
    fires, silent = {}, set()
    for path in TESTS.glob("*.yaml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for expected in test["promql_expr_test"]:
                name = re.search(r'alertname="(\w+)"', expected["expr"])[1]
                if not expected["exp_samples"]:
                    silent.add(name)
                for sample in expected["exp_samples"]:
                    fires.setdefault(name, []).append(set(re.findall(r'(\w+)="', sample["labels"])))
    return fires, silent


def anchor(title):
    """As Markdown's headings are linked to."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def dashboard(directory):
    """All queries as one file of rules, so that promtool parses them."""
    board = json.loads((COMPONENT / "dashboard.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    fact("dashboard: its rows",
         rows == ["Overview", "Consumer", "Sending", "Connections", "Database and process"], str(rows))
    for panel in panels:
        fact(f"dashboard: `{panel['title']}` has queries and says what it shows",
             panel["targets"] and panel["description"])
    identifiers = [panel["id"] for panel in board["panels"]]
    fact("dashboard: one id for each panel", len(set(identifiers)) == len(identifiers))
    overlaps = overlapping(board["panels"])
    fact("dashboard: no panel lies on another", not overlaps, str(overlaps))
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    queries += [note["expr"] for note in board["annotations"]["list"]]
    asked = [variable["name"] for variable in board["templating"]["list"]]
    for query in queries:
        unknown = set(re.findall(r"\$\w+", query)) - set(VARIABLES)
        fact(f"dashboard: variables of {query}", not unknown, str(unknown))
    fact("dashboard: its own variables", asked == ["datasource", "namespace"], str(asked))
    firing = next(query for query in queries if "ALERTS{" in query)
    chosen = re.search(r'namespace=~"([^"]*)"', firing)[1].replace("$namespace", "(a|b)")
    fact("dashboard: what fires in a namespace is shown where it is chosen, and what fires in none everywhere",
         [bool(re.fullmatch(chosen, each)) for each in ("a", "b", "", "c")] == [True, True, True, False], firing)
    lag = next(panel for panel in panels if panel["title"] == "Lag in seconds")["targets"][0]
    fact("dashboard: the pod that holds a partition can be seen, as the handbook says",
         "by (partition, pod)" in lag["expr"] and "{{pod}}" in lag["legendFormat"], str(lag))
    rules = [{"record": f"query:{number}", "expr": filled(query)} for number, query in enumerate(queries)]
    file = directory / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = run(PROMTOOL, "check", "rules", "--lint=none", file)
    fact(f"dashboard: {len(rules)} queries parse", done.returncode == 0 and f"{len(rules)} rules" in done.stdout,
         done.stdout)


def filled(query):
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def overlapping(panels):
    taken, found = {}, []
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if x >= 24 or (x, y) in taken:
                    found.append((panel["title"], taken.get((x, y))))
                taken[x, y] = panel["title"]
    return found

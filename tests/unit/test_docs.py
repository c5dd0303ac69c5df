"""What the documents say is what is there: settings, targets, commands, links, rules."""

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from chillflow import kpi_page
from chillflow.cli import COMMANDS
from chillflow.curation import RULES
from chillflow.metrics import METRICS

REPO = Path(__file__).parents[2]
DOCS = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").rglob("*.md"))]
HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("golang", "org"),
        ("repo", "maven"),
        ("repo1", "maven"),
        ("docker", "io"),
    )
]
ELSEWHERE = [f"{name}.md" for name in ("DESIGN", "ASSEMBLY", "STYLE", "FAULTS")] + ["TLC" + "_DATA"]
MACHINE = re.compile(r"(?<![\w.~-])/(work|root)/")
SHARED = ".." + "/shared"

every_doc = pytest.mark.parametrize("doc", DOCS, ids=lambda doc: str(doc.relative_to(REPO)))


def code_in(text: str) -> list[str]:
    """The lines of a Markdown text's code blocks, fenced or indented, and its spans of code."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.S | re.M)
    indented = re.findall(r"^    (\S.*)", rest, re.M)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]
    return [line.strip() for block in fenced for line in block.splitlines()] + indented + spans


def first_words(doc: Path, program: str) -> set[str]:
    """What follows a program's name where it begins a line or span of code."""
    found = (re.match(rf"(?:\$ )?(?:\S*/)?{program} ([a-z][a-z0-9-]*)", line) for line in code_in(doc.read_text()))
    return {match[1] for match in found if match}


def table_after(text: str, head: str) -> list[list[str]]:
    """The cells of the rows of the table that begins with `head`."""
    lines = text[text.index(head) :].splitlines()[2:]
    rows = (re.match(r"\| (.*) \|$", line) for line in lines[: lines.index("")])
    return [row[1].split(" | ") for row in rows if row]


def variables_read(file: Path) -> set[str]:
    """The settings that a module names."""
    texts = (node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and re.fullmatch("CHILLFLOW_[A-Z_]+", text)}


def tracked() -> list[Path]:
    """The files that are or would be committed, as git says; without git or outside of a clone, as .gitignore does."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git"):
        found = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
        if not found.returncode:
            return [REPO / name for name in found.stdout.split("\0") if name and (REPO / name).is_file()]
    return list(not_ignored())


def not_ignored() -> Iterator[Path]:
    """The files that no line of .gitignore names, each line being a name's pattern."""
    patterns = [".git", *(line.rstrip("/") for line in (REPO / ".gitignore").read_text().splitlines())]
    for folder, inside, names in os.walk(REPO):
        kept = [name for name in inside + names if not any(fnmatchcase(name, pattern) for pattern in patterns)]
        inside[:] = [name for name in inside if name in kept]
        yield from (Path(folder, name) for name in names if name in kept)


def test_the_table_of_settings_is_what_is_read() -> None:
    documented = [row[0].strip("`") for row in table_after((REPO / "docs/settings.md").read_text(), "| variable |")]
    assert sorted(documented) == sorted(variables_read(REPO / "chillflow/settings.py"))


@every_doc
def test_variables_that_a_document_names_are_settings(doc: Path) -> None:
    known = set(re.findall(r"^\| `(\w+)` \|", (REPO / "docs/settings.md").read_text(), re.M))
    assert set(re.findall(r"CHILLFLOW_[A-Z_]+", doc.read_text())) <= known


def test_the_table_of_rules_is_what_is_applied() -> None:
    documented = table_after((REPO / "docs/curation.md").read_text(), "| # | rule |")
    applied = [
        [rule.number, rule.name, rule.scope, rule.action, rule.why, *(f"{share:g}" for share in rule.usual)]
        for rule in RULES
    ]
    assert documented == applied


def test_the_table_of_metrics_is_what_is_published() -> None:
    documented = table_after((REPO / "docs/assembling.md").read_text() + "\n", "| metric |")
    assert documented == [[each.name, each.kind, ", ".join(each.labels), each.help] for each in METRICS]


def test_the_table_of_measures_is_what_is_computed() -> None:
    text = (REPO / "docs/kpis.md").read_text()
    assert text == kpi_page.page(text), "make schemas writes it anew"


@every_doc
def test_targets_of_make_exist(doc: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPO / "Makefile").read_text(), re.M))
    assert first_words(doc, "make") <= targets


@every_doc
def test_commands_exist(doc: Path) -> None:
    assert first_words(doc, "chillflow") <= set(COMMANDS)


def test_the_readme_shows_make_and_chillflow() -> None:
    assert {"demo", "test"} <= first_words(REPO / "README.md", "make")
    assert {"up", "backfill", "months", "down"} <= first_words(REPO / "README.md", "chillflow")


@every_doc
def test_links_lead_somewhere(doc: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", doc.read_text()):
        if re.match(r"https?:", target):
            continue
        path, _, heading = target.partition("#")
        linked = doc.parent / path if path else doc
        assert linked.exists(), f"{doc.name} links to {target}"
        headings = re.findall(r"^#+ (.+)", linked.read_text(), re.M) if heading else []
        anchors = [re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings]
        assert not heading or heading in anchors, f"{doc.name} links to {target}"


def test_the_table_of_faults_names_the_tests_that_there_are() -> None:
    told = {test.strip("`") for _, test in table_after((REPO / "docs/assembly.md").read_text(), "| fault | test |")}
    files = {name.partition("::")[0] for name in told}
    there = {
        f"{file}::{name}"
        for file in files
        for name in re.findall(r"^def (test_\w+)", (REPO / "tests" / file).read_text(), re.M)
    }
    assert told <= there
    assert {name for name in there if name.startswith("recovery/")} <= told


def test_every_decision_is_listed() -> None:
    index = (REPO / "docs/decisions/README.md").read_text()
    decisions = {path.name for path in (REPO / "docs/decisions").glob("0*.md")}
    assert set(re.findall(r"\]\((\S+\.md)\)", index)) == decisions


def test_nothing_tracked_names_a_registry_or_a_place_of_one_machine() -> None:
    files = tracked()
    assert {REPO / "README.md", REPO / "pyproject.toml", Path(__file__)} <= set(files)
    for file in files:
        text = file.read_text(errors="replace")
        named = [name for name in (*HOSTS, *ELSEWHERE) if name in text]
        assert not named, f"{file} names {named}"
        assert not MACHINE.search(text), f"{file} names a folder of one machine"
        inside = file.relative_to(REPO).parts[0] in ("tests", ".ci")
        assert inside or SHARED not in text, f"{file} names {SHARED}"

"""The manual: its topics are listed and printed, its links lead somewhere, its messages are those of the program."""

import pathlib
import re
import subprocess

import pytest

from mounting import BINARY, emfs

ROOT = pathlib.Path(__file__).parent.parent
MANUAL = ROOT / "src" / "manual"
TOPICS = sorted(path.stem for path in MANUAL.glob("*.md"))
#: Pages that readers of the repository start from.
PAGES = [ROOT / "README.md", ROOT / "src" / "README.md", ROOT / "src" / "SEMANTICS.md", ROOT / "tests" / "README.md", ROOT / ".github" / "CONTRIBUTING.md"]


def test_help_lists_every_topic_and_prints_it():
    listed = re.findall(r"^  ([a-z-]+) ", emfs("help").stdout.split("Topics of")[1], re.M)
    assert sorted(listed) == TOPICS
    for topic in TOPICS:
        assert emfs("help", topic).stdout.endswith((MANUAL / f"{topic}.md").read_text())


def test_help_of_a_command_has_its_options():
    assert "--cache-dir" in emfs("help", "mount").stdout
    both = emfs("help", "export").stdout
    assert "--resume" in both and both.endswith((MANUAL / "export.md").read_text())


def test_help_of_a_word_that_is_neither_says_so():
    done = subprocess.run([BINARY, "help", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2 and "`nonsense` is neither a command nor a topic" in done.stderr


@pytest.mark.parametrize("page", [*PAGES, *sorted(MANUAL.glob("*.md"))], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    for topic in re.findall(r"emfs help ([a-z-]+)", text):
        assert topic in TOPICS, topic


def test_the_readme_is_short_and_names_every_topic():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 200
    assert all(f"src/manual/{topic}.md" in text for topic in TOPICS)


def test_the_messages_of_the_troubleshooting_topic_are_those_of_the_program():
    source = " ".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    # What a format string has in its place.
    source = re.sub(r"\{[^{}]*\}", "", re.sub(r"\\\n\s*", "", source)).replace('\\"', '"')
    for line in (MANUAL / "troubleshooting.md").read_text().splitlines():
        message = re.match(r"\| (?:log: )?(``?)(…? ?)(.+?)\1 ", line)
        if not message or message.group(3) == "zarr.open":
            continue
        for part in re.split(r"…|`|\(a user|60 s|status 403|HOST|3 attempts|md5|offline: ", message.group(3)):
            part = part.strip(" ():")
            assert part in source or part in SYSTEM, f"{line}: {part!r}"


#: Messages of the system, which no file of the program has.
SYSTEM = {"Transport endpoint is not connected"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_completions(shell):
    assert "export" in emfs("completions", shell).stdout


def test_there_is_a_manual_page_for_each_command(tmp_path):
    pages = tmp_path / "man" / "man1"
    emfs("man", pages)
    names = {path.name for path in pages.iterdir()}
    assert {"emfs.1", "emfs-mount.1", "emfs-export.1"} <= names
    assert ".TH" in (pages / "emfs-mount.1").read_text()

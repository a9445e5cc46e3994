#!/usr/bin/env python3
"""Lists words that this repository does not use, with what to say instead.

    tests/words/check.py            every tracked file
    tests/words/check.py PATH…      the files at and below the paths

The words are in words.txt next to this file. Exit code: 0 when nothing was found, 1 when something was, 2 for a bad list.
"""

import fnmatch
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SUFFIXES = {".rs", ".toml", ".md", ".js", ".mjs", ".html", ".css", ".sh", ".py", ".yml", ".service", ".c", ".cpp", ".h"}
# Not read: Chinese pages, lock files, words written by a program, and the list itself.
LEFT_OUT = ["*.zh-CN.md", "*.lock", "tests/words/*", "*/golden/*", "*/node_modules/*"]
# What Rust code says in words: comments, texts, and the names of functions, which tests use as sentences.
RUST_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|r(#*)".*?"\1|"(?:\\.|[^"\\])*"|\'(?:\\.[^\']*|[^\\\'])\'|\w+|.', re.DOTALL
)
# Between two words of a phrase: a space, an underscore, or a line break with the marks of a comment.
GAP = r"(?:[ _]|[ \t]*\n[ \t]*(?:///|//!|//|#|\*|>)?[ \t]*)"


class Entry:
    """One line of the list: a pattern, what to say instead, why, and the files that it holds for."""

    def __init__(self, text, instead, reason, globs, prose):
        self.text, self.instead, self.reason, self.globs, self.prose = text, instead, reason, globs, prose
        pattern = text.replace(" ", GAP) if prose else text
        edge = "A-Za-z0-9" if prose else "A-Za-z0-9_"
        flags = re.MULTILINE | (re.IGNORECASE if prose else 0)
        self.regex = re.compile(rf"(?<![{edge}])(?:{pattern})(?![{edge}])", flags)


def words_of(name, text):
    """The text without what is not words: of Rust all code but comments, texts and names of functions is blanked."""
    if not name.endswith(".rs"):
        return text

    def keep(match):
        token = match.group()
        is_words = token.startswith(("//", "/*", '"', 'r"', "r#")) or text[max(match.start() - 3, 0) : match.start()] == "fn "
        return token if is_words else re.sub(r"\S", " ", token)

    return RUST_TOKEN.sub(keep, text)


def matches(path, globs):
    return any(fnmatch.fnmatchcase(path, glob) for glob in globs)


def read_list(path):
    """Returns the entries, and the exceptions as [globs, text of an entry or *, reason, used]."""
    entries, exceptions, section = [], [], None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]") and line[1:-1] in ("names", "prose", "exceptions"):
            section = line[1:-1]
            continue
        fields = [field.strip() for field in line.split(" :: ")]
        if section == "exceptions" and len(fields) == 3:
            exceptions.append([fields[0].split(), fields[1], fields[2], False])
        elif section in ("names", "prose") and len(fields) in (3, 4):
            globs = fields[3].split() if len(fields) == 4 else ["*"]
            entries.append(Entry(*fields[:3], globs, section == "prose"))
        else:
            sys.exit(f"{path}:{number}: not `pattern :: instead :: reason [:: globs]` below a section")
    known = {entry.text for entry in entries}
    for globs, text, _, _ in exceptions:
        if text != "*" and text not in known:
            sys.exit(f"{path}: the exception for {' '.join(globs)} names no entry: {text}")
    return entries, exceptions


def tracked(paths):
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    for name in sorted(set(filter(None, listed.split("\0")))):
        path = ROOT / name
        if matches(name, LEFT_OUT) or not path.is_file():
            continue
        if path.suffix in SUFFIXES:
            yield name, path
        elif not path.suffix:
            with path.open("rb") as file:
                if file.read(2) == b"#!":
                    yield name, path


def main(arguments):
    entries, exceptions = read_list(HERE / "words.txt")
    paths = [str(pathlib.Path(argument).resolve().relative_to(ROOT)) for argument in arguments]
    found = 0
    for name, path in tracked(paths):
        text = path.read_text(encoding="utf-8")
        words = words_of(name, text)
        lines = []
        for entry in entries:
            if not matches(name, entry.globs):
                continue
            for match in entry.regex.finditer(words if entry.prose else text):
                excused = False
                for exception in exceptions:
                    if exception[1] in ("*", entry.text) and matches(name, exception[0]):
                        exception[3] = excused = True
                if not excused:
                    word = " ".join(match.group().split())
                    lines.append((text.count("\n", 0, match.start()) + 1, word, entry))
        for line, word, entry in sorted(lines, key=lambda hit: hit[:2]):
            print(f"{name}:{line}: `{word}`: say {entry.instead} ({entry.reason})")
        found += len(lines)
    if not arguments:
        for globs, text, _, used in exceptions:
            if not used:
                print(f"note: tests/words/words.txt: the exception of {text} for {' '.join(globs)} is not needed any more")
    if found:
        print(f"{found} words to change", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

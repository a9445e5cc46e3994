#!/usr/bin/env python3
"""Checks the pages (every tracked *.md).

    tests/pages/check.py                         links, paths, and pages in two languages
    tests/pages/check.py --programs target/debug the commands in them too, by what the programs' --help lists

- A relative link leads to a file, and its anchor to a heading there.
- A path in backticks that starts at a folder of the repository exists, and so does a Rust or Python file by name.
- A page X.zh-CN.md has the code blocks, code spans, links, headings and numbers with units of X.md.
- A command of heqis-lab or heqis-runtime in a block of code has subcommand and options that exist.

Exit code: 0 when nothing was found, 1 when something was.
"""

import argparse
import collections
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHINESE = ".zh-CN.md"
FENCE = re.compile(r"^( *)```[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
UNITS = "µs|ms|ns|s|min|h|KiB|MiB|GiB|kB|MB|GB|M|%|×|°C|W"
NUMBER = re.compile(rf"(?<![A-Za-z0-9.,])(\d+(?:,\d{{3}})*(?:\.\d+)*)(?: ?({UNITS})(?![A-Za-z]))?")


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (ROOT / name).exists())


def without_code(text):
    return FENCE.sub("", text)


def anchors(text):
    """The anchors of a page's headings, as hosts of repositories make them."""
    found, seen = set(), collections.Counter()
    for _, title in HEADING.findall(without_code(text)):
        title = LINK.sub(lambda link: link.group(0).split("](")[0].lstrip("![").rstrip("]"), title)
        slug = re.sub(r"[^\w\- ]", "", title.replace("`", "").strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def check_links(name, text, pages, files):
    folders = {str(parent) for file in files for parent in pathlib.PurePath(file).parents}
    for target in LINK.findall(SPAN.sub("", without_code(text))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        full = (ROOT / name).parent / path if path else ROOT / name
        relative = str(full.resolve().relative_to(ROOT)) if full.resolve().is_relative_to(ROOT) else None
        if relative is None or (relative not in files and relative not in folders):
            yield f"the link {target} leads nowhere"
        elif anchor and relative in pages and anchor not in anchors(pages[relative]):
            yield f"the link {target}: {relative} has no such heading"


def check_paths(text, files, roots, names, folders):
    for span in SPAN.findall(without_code(text)):
        for word in span.split():
            word = word.split("::")[0].rstrip("/,:").removeprefix("./")
            if re.search(r"[…*{}$<>\[\]=\"']", word) or re.search(r"\b[A-Z]{3,}\b", word):
                continue
            first = word.split("/")[0]
            if "/" in word and first in roots:
                if word not in files and word not in folders:
                    yield f"the path `{word}` does not exist"
            elif re.fullmatch(r"[a-z0-9_]+\.(rs|py)", word) and word not in names:
                yield f"no file is called `{word}`"


def parts(text, language):
    """What two pages of one content share."""
    prose = without_code(text)
    links = collections.Counter()
    for target in LINK.findall(prose):
        path, _, anchor = target.partition("#")
        path = path.replace(CHINESE, ".md")
        if not re.search(r"/pictures/", path):
            links[path + ("#" if anchor else "")] += 1
    other = re.search(rf"\[{language}\]\(([^)]+)\)", prose)
    if other:
        links[other.group(1).replace(CHINESE, ".md")] -= 1
    bare = LINK.sub(lambda link: link.group(0).split("](")[0], SPAN.sub("", prose))
    return {
        "code blocks": collections.Counter(block for _, block in FENCE.findall(text)),
        "code spans": collections.Counter(SPAN.findall(prose)),
        "links": +links,
        "numbers": collections.Counter(" ".join(filter(None, number)) for number in NUMBER.findall(bare)),
        "headings": collections.Counter(marks for marks, _ in HEADING.findall(prose)),
    }


def check_pair(english, chinese):
    left, right = parts(english, "中文"), parts(chinese, "English")
    for kind, counted in left.items():
        for item in counted - right[kind]:
            yield f"{kind}: only the English page has {item!r}"
        for item in right[kind] - counted:
            yield f"{kind}: the English page lacks {item!r}"


def commands(text):
    for _, block in FENCE.findall(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            for part in re.split(r"\s(?:&&|\|)\s", line):
                try:
                    words = shlex.split(part, comments=True)
                except ValueError:
                    continue
                while words and (words[0] in ("sudo", "exec") or re.fullmatch(r"[A-Z_]+=.*", words[0])):
                    words = words[1:]
                if words[:2] == ["cargo", "run"] and "--" in words and "-p" in words:
                    words = [words[words.index("-p") + 1], *words[words.index("--") + 1:]]
                if words and words[0].rpartition("/")[2] in ("heqis-lab", "heqis-runtime"):
                    yield words[0].rpartition("/")[2], words[1:]


def check_command(program, words, help_of):
    chain, known = (), help_of(program, ())
    for word in words:
        if word.startswith("-"):
            option = word.split("=")[0]
            if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", known):
                yield f"`{' '.join((program, *chain))}` has no option {option}"
        elif re.search(rf"^  {re.escape(word)}(?:\s|$)", commands_of(known), re.MULTILINE):
            chain = (*chain, word)
            known = help_of(program, chain)
        elif not chain and word == "→":  # a diagram of crates
            return
        elif not chain and program == "heqis-lab":
            yield f"`{program}` has no command {word}"
            return


def commands_of(text):
    return text.partition("Commands:")[2].partition("\n\n")[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path)
    programs = parser.parse_args().programs
    files = set(tracked())
    folders = {str(parent) for file in files for parent in pathlib.PurePath(file).parents}
    roots = {file.split("/")[0] for file in files if "/" in file}
    names = {pathlib.PurePath(file).name for file in files}
    pages = {name: (ROOT / name).read_text(encoding="utf-8") for name in sorted(files) if name.endswith(".md")}
    seen = {}

    def help_of(program, chain):
        if (program, chain) not in seen:
            answer = subprocess.run([programs / program, *chain, "--help"], capture_output=True, text=True)
            seen[program, chain] = answer.stdout
        return seen[program, chain]

    found = []
    for name, text in pages.items():
        faults = [*check_links(name, text, pages, files)]
        # The changelog names files of its time.
        if name != "CHANGELOG.md":
            faults += check_paths(text, files, roots, names, folders)
        if name.endswith(CHINESE):
            english = name.replace(CHINESE, ".md")
            faults += check_pair(pages[english], text) if english in pages else [f"there is no {english}"]
        if programs and not name.endswith(CHINESE) and name != "CHANGELOG.md":
            for program, words in commands(text):
                faults += check_command(program, words, help_of)
        found += [f"{name}: {fault}" for fault in faults]
    print("\n".join(found) or f"{len(pages)} pages checked")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

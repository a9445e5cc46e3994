#!/usr/bin/env python3
"""Checks the structure of the workspace's Rust code.

1. No import circle: at every level of a crate, modules that lie next to each other depend on one another in one
   direction only. A path through a re-export (`pub use`, `pub(crate) use`) counts as one to the module that defines the
   name. A child that uses its parent's own items makes no circle with it. Test modules are left out.
2. No import through the crate's front page: `crate::Name` is a fault where `lib.rs` only re-exports `Name`.
3. No Rust file of more than 600 lines, tests, examples and benches included.
4. No crate with more than 15,000 lines under its `src`, test modules left out.

Exceptions stand in `EXCEPTIONS` with a reason each; one that is no longer needed is a fault as well.

usage: python3 tests/structure/check.py [CRATE…]      all crates where none is named; exit status 1 on a fault
       python3 tests/structure/check.py --graph CRATE  prints which module depends on which
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_LINES = 600
MAX_CRATE_LINES = 15_000

# By crate: an edge "from -> to" between two modules that may be part of a circle, and why. Modules are written with their
# path in the crate, as in "bridge::conn".
EXCEPTIONS: dict[str, dict[tuple[str, str], str]] = {}

# Files that may be longer, by path from the root, and why.
LONG_FILES: dict[str, str] = {}


def code_of(text):
    """The source with comments, strings and character literals blanked; line breaks stay."""
    out, at, depth = [], 0, 0
    token = re.compile(r'//[^\n]*|/\*|\*/|r(#*)"|"|\'(?:\\.[^\']*|[^\\\'])\'')
    while match := token.search(text, at):
        start, found = match.start(), match.group()
        if start and found[0] == "r" and (text[start - 1].isalnum() or text[start - 1] == "_"):
            out.append(text[at : start + 1] if not depth else "")
            at = start + 1
            continue
        if not depth:
            out.append(text[at:start])
        if found == "/*":
            depth += 1
        elif found == "*/":
            depth = max(depth - 1, 0)
        end = match.end()
        if depth:
            out.append("\n" * text.count("\n", at, end))
        elif found == '"':
            closing = re.compile(r'(?:[^"\\]|\\.)*"', re.S).match(text, end)
            end = closing.end() if closing else len(text)
            out.append('""' + "\n" * text.count("\n", start, end))
        elif found.startswith("r"):
            closing = text.find('"' + match.group(1), end)
            end = len(text) if closing < 0 else closing + 1 + len(match.group(1))
            out.append('""' + "\n" * text.count("\n", start, end))
        at = end
    out.append(text[at:] if not depth else "")
    return "".join(out)


def block_end(text, at):
    """The end of the item that begins at `at`: after its block or its semicolon."""
    depth = 0
    for match in re.compile(r"[{};]").finditer(text, at):
        if match.group() == "{":
            depth += 1
        elif match.group() == "}":
            depth -= 1
        if depth == 0:
            return match.end()
    return len(text)


def without_tests(text):
    """Takes out every item under `#[cfg(test)]`, its line breaks left in; returns the text, the names of the test modules
    in files of their own, and the number of lines taken out."""
    files, lines = set(), 0
    pattern = re.compile(r"#\[cfg\((?:test|all\(test[^\]]*)\)\]")
    at = 0
    while match := pattern.search(text, at):
        end = block_end(text, match.end())
        item = text[match.start() : end]
        if declared := re.search(r"\bmod\s+(\w+)\s*;", item):
            files.add(declared.group(1))
        lines += item.count("\n") + 1
        text = text[: match.start()] + "\n" * item.count("\n") + text[end:]
        at = match.start()
    return text, files, lines


class Module:
    """One file: its path in the crate, its children, and the names that it hands on."""

    def __init__(self, path, file, text):
        self.path, self.file, self.text = path, file, text
        self.children, self.exports, self.uses = set(), {}, []


def read(root):
    """The modules of the crate whose root file is `root`, by path."""
    modules = {}

    def visit(path, file):
        text, tests, _ = without_tests(code_of(file.read_text()))
        module = modules[path] = Module(path, file, text)
        folder = file.parent if file.name in ("lib.rs", "main.rs", "mod.rs") else file.with_suffix("")
        for match in re.finditer(r"\bmod\s+(\w+)\s*;", text):
            name = match.group(1)
            attribute = re.search(r'#\[path = ""\]\s*(?:pub(?:\([^)]*\))? )?$', text[: match.start()])
            for candidate in (folder / f"{name}.rs", folder / name / "mod.rs"):
                if candidate.exists() and not attribute and name not in tests:
                    module.children.add(name)
                    visit(path + (name,), candidate)
                    break

    visit((), root)
    return modules


def tree(text):
    """The paths of a use tree: `a::{b, c::d as e}` gives ((a, b), b) and ((a, c, d), e)."""
    text = text.strip()
    head = re.match(r"(?:::)?((?:\w+\s*::\s*)*)", text)
    prefix = tuple(re.findall(r"\w+", head.group(1)))
    rest = text[head.end() :].strip()
    if rest.startswith("{"):
        parts, depth, start = [], 0, 1
        for at, char in enumerate(rest):
            if char == "{":
                depth += 1
            elif char == "}":
                depth -= 1
            if (char == "," and depth == 1) or (char == "}" and depth == 0):
                parts.append(rest[start:at])
                start = at + 1
        for part in parts:
            if part.strip():
                for path, name in tree(part):
                    yield prefix + path, name
        return
    words = re.findall(r"\w+|\*", rest)
    if not words:
        return
    name = words[2] if len(words) == 3 and words[1] == "as" else words[0]
    if words[0] == "self":
        yield prefix, name if name != "self" else (prefix or ("self",))[-1]
    else:
        yield prefix + (words[0],), name


def absolute(module, path, modules):
    """A path from the crate's root; `None` where it leaves the crate or names something local."""
    at = module.path
    if not path:
        return None
    if path[0] == "crate":
        return path[1:]
    if path[0] == "self":
        return at + path[1:]
    if path[0] == "super":
        while path and path[0] == "super":
            at, path = at[:-1], path[1:]
        return at + path
    if path[0] in module.children:
        return at + path
    return None


def references(modules):
    """Fills in what each module uses and hands on: (line, absolute path)."""
    for module in modules.values():
        text = module.text
        for match in re.finditer(r"(?<!\w)(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", text):
            line = text.count("\n", 0, match.start()) + 1
            for path, name in tree(match.group(2)):
                found = absolute(module, path, modules)
                if found is None:
                    continue
                if match.group(1):
                    module.exports[name] = found
                    # A re-export of a neighbour's name makes this module depend on it; one of a child's does not.
                    if found[: len(module.path)] == module.path:
                        continue
                module.uses.append((line, found))
        plain = re.sub(r"(?<!\w)(pub(?:\([^)]*\))?\s+)?use\s+[^;]+;", lambda m: "\n" * m.group().count("\n"), text)
        heads = "|".join(["crate", "super", "self", *sorted(module.children)])
        # `$crate` of an exported macro needs the public path, and its user is another crate.
        for match in re.finditer(rf"(?<![\w:$])((?:{heads})(?:\s*::\s*\w+)+)", plain):
            found = absolute(module, tuple(re.findall(r"\w+", match.group(1))), modules)
            if found is not None:
                module.uses.append((plain.count("\n", 0, match.start()) + 1, found))


def resolve(path, modules, seen=()):
    """The module that defines what `path` names, re-exports followed."""
    at = ()
    for index, word in enumerate(path):
        module = modules[at]
        if word in module.children:
            at += (word,)
            continue
        if (export := module.exports.get(word)) and (at, word) not in seen:
            return resolve(export + path[index + 1 :], modules, (*seen, (at, word)))
        break
    return at


def graph(modules):
    """By level: the edges between its modules, with a place where each is made."""
    levels = {path: {} for path, module in modules.items() if module.children}
    for source in modules.values():
        for line, path in source.uses:
            target = resolve(path, modules)
            if target == source.path:
                continue
            common = 0
            while common < min(len(source.path), len(target)) and source.path[common] == target[common]:
                common += 1
            # The level at which the two part; none where one of them declares the other.
            if common < min(len(source.path), len(target)):
                edge = (source.path[: common + 1], target[: common + 1])
                levels[source.path[:common]].setdefault(edge, (source.file, line))
    return levels


def components(edges):
    """Strongly connected sets of more than one node (Tarjan)."""
    after = {}
    for a, b in edges:
        after.setdefault(a, set()).add(b)
        after.setdefault(b, set())
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for next_node in sorted(after[node]):
            if next_node not in index:
                visit(next_node)
                low[node] = min(low[node], low[next_node])
            elif next_node in stack:
                low[node] = min(low[node], index[next_node])
        if low[node] == index[node]:
            members = []
            while True:
                members.append(stack.pop())
                if members[-1] == node:
                    break
            if len(members) > 1:
                found.append(sorted(members))

    for node in sorted(after):
        if node not in index:
            visit(node)
    return found


def named(path, crate):
    return "::".join(path) or crate


def relative(file):
    return file.relative_to(ROOT)


def check_circles(crate, folder, faults):
    allowed = {edge: reason for edge, reason in EXCEPTIONS.get(crate, {}).items()}
    unused = set(allowed)
    for root in ("lib.rs", "main.rs"):
        file = folder / "src" / root
        if not file.exists():
            continue
        modules = read(file)
        references(modules)
        for edges in graph(modules).values():
            names = {edge: (named(edge[0], crate), named(edge[1], crate)) for edge in edges}
            whole = components(edges)
            for edge, pair in names.items():
                if pair in allowed and any(edge[0] in part and edge[1] in part for part in whole):
                    unused.discard(pair)
            kept = {edge: place for edge, place in edges.items() if names[edge] not in allowed}
            for part in components(kept):
                lines = [f"{crate}: import circle between {', '.join(named(node, crate) for node in part)}"]
                for (a, b), (place, line) in sorted(kept.items()):
                    if a in part and b in part:
                        lines.append(f"    {named(a, crate)} -> {named(b, crate)}    {relative(place)}:{line}")
                faults.append("\n".join(lines))
        if root == "lib.rs":
            front = modules[()]
            for module in modules.values():
                for line, path in module.uses:
                    if module.path and path and path[0] in front.exports and path[0] not in front.children:
                        at = named(resolve(path, modules), crate)
                        faults.append(
                            f"{relative(module.file)}:{line}: imports `{path[0]}` through the front page, it is in `{at}`"
                        )
    for a, b in sorted(unused):
        faults.append(f"{crate}: the exception for {a} -> {b} is no longer needed")


def print_graph(crate, folder):
    for root in ("lib.rs", "main.rs"):
        if (folder / "src" / root).exists():
            modules = read(folder / "src" / root)
            references(modules)
            for level, edges in sorted(graph(modules).items()):
                print(f"{named(level, crate)}:")
                for a in sorted({a for a, _ in edges}):
                    print(f"    {named(a, crate)} -> {', '.join(named(b, crate) for x, b in sorted(edges) if x == a)}")


def check_lengths(crate, folder, faults):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.rs"],
        cwd=folder, capture_output=True, text=True, check=True,
    ).stdout.split()
    total = 0
    for name in listed:
        file = folder / name
        if not file.exists() or (crate == "heqis" and not name.startswith(("src/", "tests/", "examples/", "benches/"))):
            continue
        text = file.read_text()
        lines = text.count("\n")
        path = str(relative(file))
        if name.startswith("src/") and not re.search(r"(^|/)tests(/|\.rs$)", name):
            total += lines - without_tests(code_of(text))[2]
        if lines > MAX_FILE_LINES and path not in LONG_FILES:
            faults.append(f"{path}: {lines} lines, at most {MAX_FILE_LINES}")
        if lines <= MAX_FILE_LINES and path in LONG_FILES:
            faults.append(f"{path}: the exception for its length is no longer needed")
    if total > MAX_CRATE_LINES:
        faults.append(f"{crate}: {total} lines under src without test modules, at most {MAX_CRATE_LINES}")


def crates():
    """The packages of the workspace by name."""
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    folders = [ROOT, *(ROOT / member for member in manifest["workspace"]["members"])]
    return {tomllib.loads((folder / "Cargo.toml").read_text())["package"]["name"]: folder for folder in folders}


def main(arguments):
    if "-h" in arguments or "--help" in arguments:
        print(__doc__.strip())
        return 0
    known = crates()
    wanted = [argument for argument in arguments if argument != "--graph"] or sorted(known)
    if unknown := [name for name in wanted if name not in known]:
        print(f"no crate is called {', '.join(unknown)}; there are {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    if "--graph" in arguments:
        for name in wanted:
            print_graph(name, known[name])
        return 0
    faults = []
    for name in wanted:
        check_circles(name, known[name], faults)
        check_lengths(name, known[name], faults)
    for fault in faults:
        print(fault)
    print(f"{len(wanted)} crates, {len(faults)} faults in their structure")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

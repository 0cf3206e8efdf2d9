"""Pages of the reference, one for each public header, from Doxygen's XML and the heads of the headers.

reference.py INCLUDE: prints the public headers.
reference.py INCLUDE XML OUTPUT: writes OUTPUT/<header>.md and OUTPUT/README.md.

Public is what users name: headers of the folders below, and in them every name that stands in no
namespace `detail`. A public type, enumeration, concept or function needs a word about it: a `///`
comment, or, if it gives the header its name, the header's head. (Functions `name`, and those in
`hooks`, say themselves what they do.) Names without one are listed, and make the run fail.
"""

import re
import sys
import textwrap
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

FOLDERS = {
    "": "What you hold and name",
    "policy": "Policies",
    "compose": "Policies around policies",
    "load": "Loads",
    "hashing": "Keys and shards",
    "hashing/dialect": "Hashing as other systems do it",
    "health": "Health",
    "probe": "Probes",
    "asio": "Asio",
    "boost_asio": "Boost.Asio",
    "tls": "TLS",
    "observe": "Metrics, pages and logs",
    "analysis": "Analysis, alerts and explanations",
    "pool": "Connection pools",
    "sql": "Primaries and replicas",
    "postgres": "PostgreSQL",
    "redis": "Redis",
    "config": "Configuration by one file",
    "status": "The server of the pages",
}
# What the headers of these folders share among themselves: no page, no name for users.
INSIDE = {
    "policy/claim.hpp", "policy/pick_info.hpp", "compose/partition.hpp", "compose/planned_subset.hpp", "compose/subset_assignment.hpp",
    "compose/policy_parser.hpp", "hashing/keyed.hpp", "hashing/ring.hpp", "hashing/slot_table.hpp",
    "hashing/dialect/member.hpp", "asio/raced_call.hpp", "probe/http_answer.hpp", "observe/life.hpp", "observe/pools.hpp",
    "pool/ledger.hpp", "pool/core.hpp", "sql/primary_share.hpp",
    "fwd.hpp",
}
SKIPPED_ATTRIBUTES = re.compile(r"\[\[[^\]]*\]\]\s*|\balignas\([^)]*\)\s*")


def is_public(header):
    folder = header.rpartition("/")[0]
    return folder in FOLDERS and header not in INSIDE


def head_of(text):
    """The comment at the head of a header, as Markdown."""
    lines = []
    for line in text.split("\n")[2:]:
        if line.startswith("//") and not line.startswith("///"):
            lines.append(line[2:].removeprefix(" "))
        elif lines or line.strip():
            break
    out, code = [], False
    for line in lines:
        indented = line.startswith("  ")
        if indented and not code:
            out += ["", "```cpp" if re.search(r"[;{}]\s*(//.*)?$", line) else "```text"]
        if code and not indented and line.strip():
            out += ["```", ""]
            indented, code = False, False
        code = code and not line.strip() or indented
        out.append(line[2:] if indented else line if code else escape(line))
    text = "\n".join(out + (["```"] if code else []))
    return re.sub(r"\n+(?=\n```(\n|$))", "", re.sub(r"\n{3,}", "\n\n", text)).strip()


def escape(text):
    """Prose in which <, * and _ of names are letters."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([<_])", r"\\\1", p) for p in parts)


def markdown(node):
    """The Markdown of one of Doxygen's descriptions."""
    if node is None:
        return ""
    text = escape(node.text or "")
    for child in node:
        inner = markdown(child)
        tag = child.tag
        if tag in ("emphasis", "bold"):
            mark = "*" if tag == "emphasis" else "**"
            text += mark + inner.strip() + mark
        elif tag == "computeroutput":
            text += "`" + "".join(child.itertext()) + "`"
        elif tag in ("verbatim", "preformatted", "programlisting"):
            code = textwrap.dedent("".join(child.itertext()).strip("\n")).rstrip()
            text += f"\n\n```cpp\n{code}\n```\n\n"
        elif tag == "para":
            text += "\n\n" + inner.strip() + "\n\n"
        elif tag == "listitem":
            text += "\n- " + inner.strip().replace("\n\n", "\n")
        elif tag == "parameteritem":
            names = ", ".join("`" + "".join(n.itertext()) + "`" for n in child.iter("parametername"))
            text += f"\n- {names}: " + markdown(child.find("parameterdescription")).strip()
        elif tag == "sp":
            text += " "
        else:
            text += inner
        text += escape(child.tail or "")
    return text


def described(node):
    parts = (markdown(node.find(k)).strip() for k in ("briefdescription", "detaileddescription"))
    text = "\n\n".join(p for p in parts if p)
    text = re.sub(r"\s+\*(Requires|Returns|Errors|Threads|Cost|Source)\*", r"\n\n*\1*", text)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"^ (?=\S)", "", text, flags=re.M))


def plain(node):
    text = "" if node is None else "".join(node.itertext())
    text = " ".join(SKIPPED_ATTRIBUTES.sub("", text).split())
    text = re.sub(r"< (?=\S)", "<", re.sub(r"(?<=\S) >", ">", text))
    return re.sub(r" ([&*]+)(?=\w)", r"\1 ", re.sub(r" ([&*]+)(?=[ ),>]|$)", r"\1", text))


def template_of(node):
    params = node.find("templateparamlist")
    if params is None:
        return ""
    each = []
    for param in params.findall("param"):
        text = plain(param.find("type"))
        name = plain(param.find("declname"))
        if name and not text.endswith(" " + name):
            text += " " + name
        if param.find("defval") is not None:
            text += " = " + plain(param.find("defval"))
        each.append(text)
    return "template <" + ", ".join(each) + ">\n" if each else ""


def declaration(member):
    kind, name = member.get("kind"), plain(member.find("name"))
    type_ = plain(member.find("type"))
    if kind == "enum":
        return f"enum class {name}"
    if kind == "typedef":
        return f"{template_of(member)}using {name} = {type_}"
    if kind == "function":
        text = f"{type_} {name}{plain(member.find('argsstring'))}".strip()
        static = "static " if member.get("static") == "yes" and not text.startswith("static") else ""
        return template_of(member) + static + re.sub(r"\s*=\s*default$", "", text)
    value = plain(member.find("initializer"))
    text = f"{type_} {name}" + ("" if value in ("", "{}") or "{" in value and len(value) > 60 else
                               f" {value}" if value[0] in "={" else f" = {value}")
    return template_of(member) + text


def enumerators(member):
    rows = []
    for value in member.findall("enumvalue"):
        rows.append(f"| `{plain(value.find('name'))}` | {one_line(described(value))} |")
    return "\n| | |\n|---|---|\n" + "\n".join(rows) + "\n" if rows else ""


def one_line(text):
    return " ".join(text.split()).replace("|", "\\|")


def members_of(compound):
    """Fields as a table, functions and types one below the other."""
    fields, others = [], []
    for section in compound.findall("sectiondef"):
        if section.get("kind") not in ("public-attrib", "public-func", "public-static-func",
                                       "public-static-attrib", "public-type", "user-defined"):
            continue
        for member in section.findall("memberdef"):
            if member.get("prot") != "public" or plain(member.find("argsstring")).endswith("delete"):
                continue
            if plain(member.find("name")).startswith("~"):
                continue
            if member.get("kind") == "variable" and member.get("static") != "yes":
                fields.append(member)
            else:
                others.append(member)
    text = ""
    if fields:
        text += "\n| member | |\n|---|---|\n"
        for field in fields:
            text += f"| `{one_line(declaration(field))}` | {one_line(described(field))} |\n"
    silent = []  # those without a word stand together
    for member in [*others, None]:
        says = "" if member is None else described(member) + enumerators(member)
        if silent and (says or member is None):
            text += "\n```cpp\n" + "\n".join(silent) + "\n```\n"
            silent = []
        if says:
            text += f"\n```cpp\n{declaration(member)}\n```\n\n{says}\n"
        elif member is not None:
            silent.append(declaration(member))
    return text


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def public_headers(include):
    headers = (path.relative_to(include).as_posix() for path in sorted(include.rglob("*.hpp")))
    return [header for header in headers if is_public(header)]


def main(include, xml, output):
    entries = defaultdict(list)  # header -> (line, name, Markdown)
    missing = []

    def add(node, name, full, text):
        location = node.find("location")
        header = location.get("file")
        if not is_public(header) or "detail" in full.split("::"):
            return
        stem = Path(header).stem
        says = described(node)
        wanted = node.get("kind") != "variable" and name != "name" and "::" not in name \
            and "hooks" not in full.split("::")
        if wanted and not says and snake(name) != stem and name.lower() != stem.replace("_", ""):
            missing.append(f"include/poise/{header}:{location.get('line')}: {full} has no ///")
        entries[header].append((int(location.get("line")), name, text(says)))

    compounds = [ET.parse(file).getroot().find("compounddef") for file in sorted(xml.glob("*.xml"))]
    compounds = [compound for compound in compounds if compound is not None]
    private = {plain(c.find("compoundname")) for c in compounds if c.get("prot") == "private"}
    for compound in compounds:
        kind = compound.get("kind")
        full = plain(compound.find("compoundname"))
        name = full.rpartition("::")[2]
        if kind in ("class", "struct") and "<" not in full:
            scopes = full.split("::")
            nested = [part for part in scopes if part[:1].isupper()]
            if compound.get("prot") == "private" or any(
                    (full.rpartition(f"::{part}")[0] + f"::{part}") in private for part in nested):
                continue
            name = "::".join(nested)
            shown = template_of(compound) + f"{kind} {name};"
            add(compound, name, full,
                lambda says, s=shown, c=compound: f"```cpp\n{s}\n```\n\n{says}\n" + members_of(c))
        elif kind == "concept":
            shown = " ".join(plain(compound.find("initializer")).split())
            add(compound, name, full, lambda says, s=shown: f"```cpp\n{s}\n```\n\n{says}\n")
        elif kind == "namespace" and "detail" not in full.split("::") and full.startswith("poise"):
            for member in compound.iter("memberdef"):
                if member.get("kind") in ("function", "enum", "typedef", "variable"):
                    called = plain(member.find("name"))
                    if called.startswith("operator") or "->" in plain(member.find("argsstring")) \
                            and not plain(member.find("type")).startswith("auto"):
                        continue  # operators, deduction guides
                    add(member, called, f"{full}::{called}",
                        lambda says, m=member: f"```cpp\n{declaration(m)}\n```\n\n{says}\n" + enumerators(m))

    index = defaultdict(list)
    for header in public_headers(include):
        if header not in entries and header not in ("poise.hpp", "compose/named.hpp"):
            continue  # nothing here that users name
        head = head_of((include / header).read_text())
        if not head:
            missing.append(f"include/poise/{header}:3: the header has no head")
        page = output / f"{header}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        text = f"# {header}\n\n```cpp\n#include <poise/{header}>\n```\n\n{head}\n"
        grouped = {}
        for line, name, entry in sorted(entries.get(header, []), key=lambda e: e[0]):
            grouped.setdefault(name, []).append(entry)
        for name, all_ in grouped.items():
            text += f"\n## {escape(name)}\n\n" + "\n".join(all_)
        page.write_text(text)
        names = ", ".join(f"`{name}`" for name in grouped) or one_line(head.split("\n\n")[0])
        index[header.rpartition("/")[0]].append(f"| [{escape(header)}]({header}.md) | {names} |")

    text = ("# Reference\n\nEvery public header, made from its comments. What stands in a namespace `detail`, "
            "and the folders `engine`, `sync`, `base` and `hash`, are not for users.\n")
    for folder, title in FOLDERS.items():
        if index[folder]:
            text += f"\n## {title}\n\n| header | names |\n|---|---|\n" + "\n".join(index[folder]) + "\n"
    (output / "README.md").write_text(text)
    for line in sorted(missing):
        print(line, file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print("\n".join(public_headers(Path(sys.argv[1]))))
    else:
        sys.exit(main(*map(Path, sys.argv[1:4])))

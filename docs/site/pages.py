"""The pages of the site: README.md, docs/, and a page for each source file that they link to.

pages.py ROOT SOURCES: copies the pages to SOURCES, where the reference is already, and writes
SOURCES/../mkdocs.yml. Links to headers lead to the reference, links to other files to pages that show
them. A page that no part of the site's navigation lists is a mistake, and makes the run fail.
"""

import os
import re
import shutil
import sys
from pathlib import Path

LANGUAGES = {".cpp": "cpp", ".hpp": "cpp", ".sh": "sh", ".txt": "text", ".cmake": "cmake", ".md": "text"}
PICTURES = (".svg", ".png")
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def show(root, sources, path):
    """Makes a page that shows a file, or lists a folder, and returns it."""
    relative = path.relative_to(root)
    if path.suffix == ".md" and relative.parts[0] == "docs":
        return sources / relative  # a page anyway
    if path.is_dir():
        page = sources / "files" / relative / "README.md"
        if not page.exists():
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text("")  # seen, before what it lists links back
            lines = [f"# {relative}/\n"]
            for child in sorted(path.iterdir()):
                if child.is_dir() or child.suffix in LANGUAGES:
                    target = os.path.relpath(show(root, sources, child), page.parent)
                    lines.append(f"- [{child.name}]({target})")
            page.write_text("\n".join(lines) + "\n")
        return page
    page = sources / "files" / f"{relative}.md"
    if not page.exists():
        page.parent.mkdir(parents=True, exist_ok=True)
        language = LANGUAGES.get(path.suffix, "text")
        page.write_text(f"# {relative}\n\n````{language}\n{path.read_text().rstrip()}\n````\n")
    return page


def main(root, sources):
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    for page in pages:
        copy = sources / page.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)

        def lead(match, page=page, copy=copy):
            target = (page.parent / match[2]).resolve()
            if ":" in match[2] or target.suffix in (".md", *PICTURES) or not target.exists():
                return match[0]
            header = target.is_relative_to(root / "include/poise") and \
                sources / "reference" / f"{target.relative_to(root / 'include/poise')}.md"
            shown = header if header and header.exists() else show(root, sources, target)
            up = "../" * len(copy.relative_to(sources).parent.parts)
            return match[1] + up + shown.relative_to(sources).as_posix() + match[3]

        parts = re.split(r"(^```.*?^```$)", page.read_text(), flags=re.M | re.S)
        copy.write_text("".join(p if p.startswith("```") else LINK.sub(lead, p) for p in parts))
    for picture in (p for p in (root / "docs").rglob("*") if p.suffix in PICTURES):
        copy = sources / picture.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, copy)
    shutil.copy(root / "docs/site/site.css", sources)

    config = (root / "docs/site/mkdocs.yml").read_text()
    unlisted = [str(p.relative_to(root)) for p in pages if f"{p.relative_to(root)}\n" not in config]
    for page in unlisted:
        print(f"{page} is not in the nav of docs/site/mkdocs.yml", file=sys.stderr)

    folders = {}
    for page in sorted((sources / "reference").rglob("*.md")):
        folders.setdefault(page.parent.relative_to(sources / "reference").as_posix(), []).append(page)
    nav = ["\n      - reference/README.md"]
    for folder, members in folders.items():
        indent = "      "
        if folder != ".":
            nav.append(f"      - {folder}/:")
            indent = "          "
        nav += [f"{indent}- {p.name[:-3]}: {p.relative_to(sources)}" for p in members if p.name != "README.md"]
    (sources.parent / "mkdocs.yml").write_text(config.replace(" REFERENCE", "\n".join(nav)))
    return 1 if unlisted else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()))

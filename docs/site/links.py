"""links.py SITE: links of the built site that lead to no file, or to no element of that file."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name"):
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append((self.getpos()[0], value))


def main(site):
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    dead = 0
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are absolute
        for line, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            fragment = unquote(parts.fragment)
            if not target.exists() or target in pages and fragment and fragment not in pages[target].ids:
                print(f"{path}:{line}: dead link {link}", file=sys.stderr)
                dead += 1
    print(f"{len(pages)} pages, {sum(len(p.links) for p in pages.values())} links, {dead} dead")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

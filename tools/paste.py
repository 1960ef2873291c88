"""Puts what comes in on standard input into a page, in the place of what stands between two comments, and prints it.

usage: COMMAND | paste.py PAGE NAME     the page has lines <!-- NAME --> and <!-- end of NAME -->
"""
import pathlib
import sys


def parts(page, name):
    """What stands before the place, the comments with it, and what stands after."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"{page} has no place for {name}")
    before, rest = text.split(begin)
    return before + begin, end + rest.split(end)[1]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    page, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    # Before anything is measured for nothing.
    parts(page, name)
    lines = []
    for line in sys.stdin:
        print(line, end="", flush=True)
        lines.append(line)
    if not lines:
        sys.exit(f"nothing came in for {name}")
    before, after = parts(page, name)
    page.write_text(before + "\n" + "".join(lines).strip() + "\n\n" + after, encoding="utf-8")


main()

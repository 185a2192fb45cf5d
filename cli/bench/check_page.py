"""Checks a page of `mpool bench --report`: check_page.py PAGE JSON.

Prints what is wrong, a line each, and fails then.
"""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree

XHTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"

problems = []


def expect(holds, message):
    if not holds:
        problems.append(message)


def check_references(text, root):
    for element in root.iter():
        name = element.tag.rsplit("}", 1)[-1]
        expect(name not in ("script", "link", "img", "iframe", "object", "embed", "base", "use",
                            "image", "foreignObject"), "element " + name)
        for attribute in element.attrib:
            local = attribute.rsplit("}", 1)[-1]
            expect(local not in ("src", "href", "srcset", "data", "action", "style")
                   and not local.startswith("on"), "attribute " + local)
    expect("url(" not in text and "@import" not in text, "a reference in the style sheet")
    addresses = set(re.findall(r"https?://[^\"\s<]*", text))
    expect(addresses <= {"http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg"},
           "addresses: %s" % addresses)


def check_drawing(drawing):
    expect(drawing.get("role") == "img" and len(drawing.get("aria-label", "")) > 20,
           "a drawing without a text alternative")
    width, height = [float(part) for part in drawing.get("viewBox").split()[2:]]
    texts = list(drawing.iter(SVG + "text"))
    expect(texts, "a drawing without labels")
    for text in texts:
        x, y = float(text.get("x")), float(text.get("y"))
        size = float(text.get("font-size"))
        length = 0.6 * size * len(text.text)
        left = x - {"start": 0, "middle": length / 2, "end": length}[text.get("text-anchor")]
        inside = -0.5 <= left and left + length <= width + 0.5 and y >= 0.7 * size and y <= height
        expect(inside, "text outside of %s %g x %g: %r from %g to %g at %g" %
               (drawing.get("class"), width, height, text.text, left, left + length, y))
    for shape in drawing.iter(SVG + "rect"):
        x, y = float(shape.get("x")), float(shape.get("y"))
        w, h = float(shape.get("width")), float(shape.get("height"))
        expect(x >= 0 and y >= 0 and w >= 0 and h >= 0 and x + w <= width + 0.5
               and y + h <= height + 0.5, "a rectangle outside of its drawing")


def check_numbers(root, report):
    for mode in report["modes"]:
        shown = set()
        for element in root.iter():
            if "m-" + mode["mode"] in element.get("class", "").split():
                shown |= {int(data.get("value")) for data in element.iter(XHTML + "data")}
        wanted = [mode[name] for name in ("touches", "major_faults", "minor_faults", "locked_bytes",
                                          "memory_bytes")]
        wanted += [value for name, value in mode["latency"].items() if name.endswith("_ns")
                   and name != "mean_ns"]
        wanted += list(mode["outliers"]["causes"].values()) + [mode["outliers"]["count"]]
        wanted += [touch["ns"] for touch in mode["outliers"]["worst"][:5]]
        missing = [value for value in wanted if value not in shown]
        expect(not missing, "numbers of %s that are not shown: %s" % (mode["mode"], missing))


def main():
    with open(sys.argv[1], encoding="utf-8") as page:
        text = page.read()
    with open(sys.argv[2], encoding="utf-8") as file:
        report = json.load(file)
    root = ElementTree.fromstring(text)
    check_references(text, root)
    metas = [meta.get("content") for meta in root.iter(XHTML + "meta")
             if meta.get("name") == "viewport"]
    expect(metas == ["width=device-width, initial-scale=1"], "no viewport")
    words = "".join(root.itertext())
    for fact in [report["verdict"].replace(" us", " \u00b5s"), report["command"],
                 report["environment"]["version"], report["environment"]["date"]]:
        expect(fact in words, "not shown: " + fact)
    drawings = list(root.iter(SVG + "svg"))
    classes = [drawing.get("class") for drawing in drawings]
    expect(classes == ["wide", "narrow"] * 4, "drawings: %s" % classes)
    for drawing in drawings:
        check_drawing(drawing)
    check_numbers(root, report)
    print("\n".join(problems))
    return 1 if problems else 0


sys.exit(main())

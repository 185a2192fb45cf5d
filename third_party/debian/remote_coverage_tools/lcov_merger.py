#!/usr/bin/env python3
"""Merges what gcov wrote about one test (*.gcov.json.gz) into one lcov file.

    lcov_merger.py --coverage_dir=DIR --output_file=FILE [other options, ignored]

Only sources of this repository are kept: gcov names them by relative paths.
"""

import collections
import glob
import gzip
import json
import os
import sys


def main():
    options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
    hits = collections.defaultdict(collections.Counter)  # source -> line -> times run
    pattern = os.path.join(options["coverage_dir"], "**", "*.gcov.json.gz")
    for path in glob.glob(pattern, recursive=True):
        with gzip.open(path, "rt", encoding="utf-8") as report:
            for source in json.load(report)["files"]:
                if not os.path.isabs(source["file"]):
                    for line in source["lines"]:
                        hits[source["file"]][line["line_number"]] += line["count"]
    with open(options["output_file"], "w", encoding="utf-8") as output:
        for source, lines in sorted(hits.items()):
            print("SF:" + source, file=output)
            for line, count in sorted(lines.items()):
                print("DA:%d,%d" % (line, count), file=output)
            print("LH:%d" % sum(1 for count in lines.values() if count), file=output)
            print("LF:%d" % len(lines), file=output)
            print("end_of_record", file=output)


if __name__ == "__main__":
    main()

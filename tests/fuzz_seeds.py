#!/usr/bin/env python3
"""tests/fuzz_seeds.py NAME FOLDER - writes what a fuzz target begins with, if it has something: for the codecs of
structured clone every vector, behind the byte that says how much lies beside it."""
import json
import os
import sys


def main():
    name, folder = sys.argv[1:]
    if not name.startswith("fuzz_clone"):
        return
    with open(os.path.join(os.path.dirname(__file__), "clone_vectors.json"), encoding="utf-8") as file:
        vectors = json.load(file)["vectors"]
    for i, vector in enumerate(vectors):
        if "hex" in vector:
            with open(os.path.join(folder, f"vector-{i}"), "wb") as seed:
                beside = min(len(vector.get("buffers", [])), 3) + 4 * min(vector.get("hosts", 0), 3)
                seed.write(bytes([beside]) + bytes.fromhex(vector["hex"].replace(" ", "")))


main()

"""Reads all files named on stdin at once and prints, as JSON, what came of each: the sum of its bytes, or an errno."""

import concurrent.futures
import hashlib
import json
import sys


def read(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return hashlib.sha256(file.readall()).hexdigest()
    except OSError as error:
        return error.errno


def main():
    paths = sys.stdin.read().splitlines()
    with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
        print(json.dumps(dict(zip(paths, pool.map(read, paths), strict=True))))


main()

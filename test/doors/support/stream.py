"""Reads one URL as it comes with requests or httpx; prints HEAD, each DATA, and END or ERROR. Trust and proxy come from the environment."""

import sys


def said(word: str, text: str) -> None:
    print(word, text.replace("\n", "\\n"), flush=True)


def with_requests(url: str) -> None:
    import requests

    with requests.get(url, stream=True, timeout=20) as answer:
        said("HEAD", str(answer.status_code))
        for part in answer.iter_content(None):
            said("DATA", part.decode())


def with_httpx(url: str) -> None:
    import httpx

    with httpx.stream("GET", url, timeout=20) as answer:
        said("HEAD", str(answer.status_code))
        for part in answer.iter_raw():
            said("DATA", part.decode())


try:
    {"requests": with_requests, "httpx": with_httpx}[sys.argv[1]](sys.argv[2])
    said("END", "")
except Exception as error:  # what an application would see
    said("ERROR", repr(error))

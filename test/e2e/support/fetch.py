"""Asks for one URL as often as told with requests or httpx; prints one JSON a line. Trust and proxy come from the environment."""

import base64
import importlib
import json
import sys


def main() -> None:
    library, method, url, size, count = sys.argv[1:6]
    client = importlib.import_module(library)
    body = b"u" * int(size) if int(size) > 0 else None
    extra = {"data" if library == "requests" else "content": body}
    for _ in range(int(count)):
        try:
            answer = client.request(method, url, timeout=20, **extra)
            facts = {
                "status": answer.status_code,
                "headers": [[name.lower(), value] for name, value in answer.headers.items()],
                "body": base64.b64encode(answer.content).decode(),
            }
        except Exception as error:  # what an application would see
            facts = {"error": repr(error)}
        print(json.dumps(facts))


main()

"""httpx with HTTP/2: some requests at once on one connection; prints what it got. Trust and proxy come from the environment.

protocol_httpx.py URL COUNT
"""

import asyncio
import json
import sys

import httpx


async def ask(client: httpx.AsyncClient, number: int) -> dict[str, object]:
    answer = await client.post(sys.argv[1], content=f"request {number}".encode())
    return {"status": answer.status_code, "body": answer.text, "version": answer.http_version}


async def main() -> None:
    async with httpx.AsyncClient(http2=True, timeout=20) as client:
        # Those that come before it knows the version get connections of their own.
        answers = [await ask(client, 0)]
        answers += await asyncio.gather(*(ask(client, number) for number in range(1, int(sys.argv[2]))))
    versions = sorted({str(answer["version"]) for answer in answers})
    print(json.dumps({"version": " ".join(versions), "answers": answers}))


asyncio.run(main())

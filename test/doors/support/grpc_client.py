"""Calls of grpcio to the methods that grpc-python.test.ts serves, printed as one JSON object. Trust and proxy come from the environment."""

import json
import queue
import sys

import grpc

DEADLINE_S = 10


def said(error: grpc.RpcError) -> dict:
    return {
        "code": error.code().name,
        "details": error.details(),
        "trailing": dict(error.trailing_metadata() or ()),
    }


def refusal(call) -> dict:
    try:
        call()
    except grpc.RpcError as error:
        return said(error)
    return {"code": "OK"}


def chat(channel) -> list:
    """Says the next thing only when it has the answer to the last."""
    turns = queue.Queue()
    answers = channel.stream_stream("/test.Allowed/Chat")(iter(turns.get, None), timeout=DEADLINE_S)
    heard = []
    for turn in range(5):
        turns.put(f"turn {turn}".encode())
        heard.append(next(answers).decode())
    turns.put(None)
    heard.extend(rest.decode() for rest in answers)
    return heard


target, host = sys.argv[1:3]
options = [("grpc.max_receive_message_length", 8 << 20), ("grpc.enable_retries", 0)]
if host != "-":
    options += [("grpc.ssl_target_name_override", host.rsplit(":", 1)[0]), ("grpc.default_authority", host)]
with grpc.secure_channel(target, grpc.ssl_channel_credentials(), options) as channel:
    unary = lambda path, message=b"x": channel.unary_unary(path)(message, timeout=DEADLINE_S)
    answer, call = channel.unary_unary("/test.Allowed/Unary").with_call(
        b"hello", metadata=(("x-custom", "of the client"), ("x-custom-bin", b"\x01\xfa")), timeout=DEADLINE_S
    )
    big = b"x" * (4 << 20)
    print(
        json.dumps(
            {
                "unary": answer.decode(),
                "initial": dict(call.initial_metadata()).get("x-initial"),
                "trailing": dict(call.trailing_metadata()).get("x-trailing"),
                "upload": channel.stream_unary("/test.Allowed/Upload")(iter([b"a", b"b"]), timeout=DEADLINE_S).decode(),
                "events": [
                    event.decode() for event in channel.unary_stream("/test.Allowed/Events")(b"x", timeout=DEADLINE_S)
                ],
                "chat": chat(channel),
                "big": unary("/test.Allowed/Big", big) == big,
                "missing": refusal(lambda: unary("/test.Allowed/Missing")),
                "late": refusal(lambda: channel.unary_unary("/test.Allowed/Late")(b"x", timeout=0.3)),
                "denied": refusal(lambda: unary("/test.Forbidden/Method")),
                "denied_chat": refusal(lambda: list(channel.stream_stream("/test.Forbidden/Chat")(iter([b"x"])))),
                "rated": [refusal(lambda: unary("/test.Rated/Method")) for _ in range(2)],
                "capped": refusal(
                    lambda: channel.stream_unary("/test.Capped/Upload")(iter([b"x" * 600] * 4), timeout=DEADLINE_S)
                ),
            }
        )
    )

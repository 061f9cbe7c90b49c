# Reads requests as h11 does: one line of base64 in, one line of JSON out, until the input ends.
import base64
import json
import sys

import h11

MAX_HEAD = 256 * 1024


def text(raw):
    return bytes(raw).decode('latin1')


def read(data):
    """The requests that are whole, and why there is no further one; None: the bytes end with a request."""
    requests = []
    while True:
        # RFC 9112 section 2.2: one empty line before a request is ignored. h11 leaves that to its caller.
        if data.startswith(b'\r\n'):
            data = data[2:]
        if not data:
            return requests, None
        # A connection of its own for each: whether it may be kept alive is not asked here.
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        connection.receive_data(data)
        head, body = None, b''
        try:
            while True:
                event = connection.next_event()
                if isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    return requests, 'unfinished'
        except h11.RemoteProtocolError as error:
            return requests, str(error)
        requests.append({'method': text(head.method), 'target': text(head.target), 'body': text(body)})
        data = bytes(connection.trailing_data[0])


for line in sys.stdin:
    requests, error = read(base64.b64decode(line))
    print(json.dumps({'requests': requests, 'error': error}), flush=True)

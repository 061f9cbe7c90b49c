#!/usr/bin/env python3
"""Checks an audit trail of mcp-egress with nothing of mcp-egress: the chain, and with a key the signatures of the checkpoints.

    verify_audit.py [--public-key audit.pub] SEGMENT...        segments oldest first, plain or .gz

Exit code 0: as it was written; 3: it is not, the first bad record is named. Signatures need the openssl command (3.0 or later).
"""
import base64, gzip, hashlib, json, os, re, subprocess, sys, tempfile

START = b'{"schema":"mcp-egress.audit/1","instance":"'
SEAL = re.compile(rb',"prev_hash":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}\Z')
# What a restart writes first behind a record that a crash broke off.
RESTART = re.compile(rb'"event":"(?:proxy\.started|segment\.opened|audit\.restored)"|,"duration_ms":null')

def fail(seq, why, file, number):
    print(f"BROKEN at seq {seq}: {why} ({file}, line {number})")
    sys.exit(3)

def signed(key, record):
    statement = f"mcp-egress.audit/1 checkpoint\n{record['instance']}\n{record['seq']}\n{record['prev_hash']}\n"
    with tempfile.TemporaryDirectory() as folder:
        said, signature = os.path.join(folder, "said"), os.path.join(folder, "signature")
        open(said, "w").write(statement)
        open(signature, "wb").write(base64.b64decode(record["signature"] or ""))
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", said, "-sigfile", signature]
        return subprocess.run(command, capture_output=True).returncode == 0

def main(arguments):
    key = None
    if arguments[:1] == ["--public-key"]:
        key, arguments = arguments[1], arguments[2:]
    expected, previous, instance, torn, records, checkpoints = None, "0" * 64, None, None, 0, 0
    for file in arguments:
        for number, raw in enumerate((gzip.open if file.endswith(".gz") else open)(file, "rb"), 1):
            line = raw[:-1] if raw.endswith(b"\n") else raw
            seal, written = SEAL.search(line), line.split(b"\0")[0]
            if seal is None and written and (written.startswith(START) or START.startswith(written)) and torn is None:
                torn = (file, number)  # broken off: good only where a restart follows, or nothing
                continue
            if seal is None or not re.fullmatch(rb"[\x20-\x7e]+", line) or not line.startswith(START):
                fail(expected or 0, "no record", *(torn or (file, number)))
            if hashlib.sha256(line[: -len('","hash":"') + 1 - 66]).hexdigest().encode() != seal[2]:
                fail(expected or 0, "the record does not match its hash", file, number)
            record = json.loads(line)
            if torn and not RESTART.search(line):
                fail(expected or 0, "a record is broken off, and no restart follows", *torn)
            if expected is None:  # a trail whose oldest segments were pruned begins with a segment
                expected, instance = record["seq"], record["instance"]
                previous = record["prev_hash"] if expected > 0 and record["event"] == "segment.opened" else previous
            if (record["instance"], record["seq"], record["prev_hash"]) != (instance, expected, previous):
                fail(expected, f"record {record['seq']} stands here", file, number)
            if key and record["event"] == "checkpoint":
                signed(key, record) or fail(expected, "the signature is not one of this key", file, number)
                checkpoints += 1
            expected, previous, torn, records = expected + 1, record["hash"], None, records + 1
    print(f"OK: {records} records, {checkpoints} signatures verified; what follows the last checkpoint nobody vouches for")

if __name__ == "__main__":
    main(sys.argv[1:])

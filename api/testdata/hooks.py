# What schemathesis does not know by itself: bodies that are not JSON.
import json

import schemathesis
from hypothesis import strategies as st

text = st.text(st.characters(codec="utf-8"), max_size=20)
record = st.fixed_dictionaries(
    {"type": st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)},
    optional={
        "id": st.one_of(text, st.integers(), st.none()),
        "timestamp": st.one_of(text, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none()),
        "attributes": st.dictionaries(text, st.one_of(text, st.integers(), st.booleans())),
    },
)
ends = st.sampled_from(["\n", "\r\n", "\n\n", "\n \t\n"])


@st.composite
def lines(draw):
    return "".join(json.dumps(draw(record)) + draw(ends) for _ in range(draw(st.integers(1, 5)))).encode()


schemathesis.openapi.media_type(
    "application/x-ndjson", lines(), aliases=["application/ndjson", "application/jsonl"]
)


def field(number, payload):
    """A length-delimited field of protobuf."""
    assert len(payload) < 1 << 14 and number < 16
    size = bytes([len(payload)]) if len(payload) < 128 else bytes([len(payload) & 127 | 128, len(payload) >> 7])
    return bytes([number << 3 | 2]) + size + payload


@st.composite
def export(draw):
    """What requests for traces, logs and metrics have in common: a resource
    with attributes, a scope with a name."""
    request = b""
    for _ in range(draw(st.integers(0, 3))):
        value = field(1, draw(text).encode())
        attribute = field(1, draw(text).encode()) + field(2, value)
        scope = field(1, field(1, draw(text).encode()))
        request += field(1, field(1, field(1, attribute)) + field(2, scope) + field(3, draw(text).encode()))
    return request


schemathesis.openapi.media_type("application/x-protobuf", export())

"""What is said about money arrives as it was said, both ways, and nothing that cannot be meant does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.money.messages import (
    AccountRef,
    Ask,
    AskItem,
    AskKind,
    Deny,
    DenyReason,
    Hello,
    Report,
    Return,
    Welcome,
)
from dataplane.wire.holds import (
    LARGEST,
    MOST_ITEMS,
    from_control_plane,
    from_pod,
    hello_from,
    to_control_plane,
    to_pod,
)
from protos import fleet_pb2 as pb
from tests.link import strategies

ACCOUNT = AccountRef("bud_1", "", "2026-11")
ASK = Ask(1, AskKind.ADMIT, "req_1", 0, (AskItem(ACCOUNT, 5, 1, 9),))


@given(strategies.ups)
def test_what_a_pod_says_arrives_as_it_was_said(message):
    sent = to_control_plane("pod_1", message).SerializeToString()
    assert from_pod(pb.HoldUp.FromString(sent)) == [message]


@given(strategies.downs)
def test_what_the_control_plane_says_arrives_as_it_was_said(message):
    assert list(from_control_plane(pb.HoldDown.FromString(to_pod(message).SerializeToString()))) == [message]


@given(st.lists(strategies.ups, max_size=4), st.lists(strategies.downs, max_size=4))
def test_messages_joined_byte_by_byte_say_it_all(ups, downs):
    """But for Hello and Welcome, which travel alone."""
    ups = [message for message in ups if not isinstance(message, Hello)]
    up = b"".join(to_control_plane("pod_1", message).SerializeToString() for message in ups)
    assert sorted(map(repr, from_pod(pb.HoldUp.FromString(up)))) == sorted(map(repr, ups))
    downs = [message for message in downs if not isinstance(message, Welcome)]
    down = b"".join(to_pod(message).SerializeToString() for message in downs)
    assert sorted(map(repr, from_control_plane(pb.HoldDown.FromString(down)))) == sorted(map(repr, downs))


def test_a_hello_says_whose_it_is():
    hello = to_control_plane("pod_1", Hello("ses_1", ())).hello
    assert (hello.pod_id, hello_from(hello).session_id) == ("pod_1", "ses_1")


def test_a_denial_for_a_reason_of_a_newer_control_plane_leaves_it_to_the_outage_rule():
    down = pb.HoldDown.FromString(pb.HoldDown(denies=[pb.Deny(ask_id=4)]).SerializeToString() + b"\x1a\x02\x10\x63")
    first, second = from_control_plane(down)
    assert isinstance(first, Deny)
    assert isinstance(second, Deny)
    assert first.reason is second.reason is DenyReason.UNDECIDED


ITEM = ASK.items[0]
NONSENSE = [
    replace(ASK, ask_id=0),
    replace(ASK, request_id=""),
    replace(ASK, attempt=1001),
    replace(ASK, items=()),
    replace(ASK, items=(ITEM, ITEM)),
    replace(ASK, items=tuple(replace(ITEM, account=AccountRef(f"bud_{n}", "", "w")) for n in range(MOST_ITEMS + 1))),
    replace(ASK, items=(replace(ITEM, need_nano=-1),)),
    replace(ASK, items=(replace(ITEM, want_nano=LARGEST + 1),)),
    replace(ASK, items=(replace(ITEM, account=AccountRef("", "", "w")),)),
    replace(ASK, items=(replace(ITEM, account=AccountRef("bud_1", "\n", "w")),)),
    Return(AccountRef("b" * 65, "", "w"), 0),
    Return(ACCOUNT, -1),
    Report(-1, (), ()),
]


@pytest.mark.parametrize("message", NONSENSE, ids=str)
def test_what_a_pod_cannot_mean_is_an_error(message):
    with pytest.raises(ValueError, match=r"."):
        from_pod(to_control_plane("pod_1", message))


def test_an_ask_of_no_known_kind_is_an_error():
    up = to_control_plane("pod_1", ASK)
    up.asks[0].kind = pb.ASK_KIND_UNSPECIFIED
    with pytest.raises(ValueError, match="no known kind"):
        from_pod(up)

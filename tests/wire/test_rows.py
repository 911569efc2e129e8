"""The wire says what the core means, both ways, also to a pod that is older than its control plane."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.pushed import PUSHED
from dataplane.core.snapshot import Budget, KeyState, Provider, ProviderKind, Unpriced, VirtualKey
from dataplane.link.understanding import doubt
from dataplane.wire.records import record_from
from dataplane.wire.rows import KIND_NUMBERS, KINDS, ref_from, resource_from, row_from
from dataplane.wire.updates import identity
from protos import fleet_pb2 as pb
from tests.core import build
from tests.link import strategies


@pytest.mark.parametrize("kind", KIND_NUMBERS, ids=lambda kind: kind.__name__)
def test_a_row_comes_back_from_the_wire_as_it_was(kind):
    @given(strategies.by_kind[kind])
    def comes_back(row):
        assert row_from(pb.Resource.FromString(resource_from(row).SerializeToString())) == row

    comes_back()


def test_a_kind_is_one_field_of_a_resource_numbered_and_named_like_it():
    fields = pb.Resource.DESCRIPTOR.oneofs_by_name["resource"].fields
    assert [field.name for field in fields] == [kind.wire for kind in PUSHED.values() if kind.wire]
    assert [field.number - 1 for field in fields] == list(KIND_NUMBERS.values()) == pb.ResourceKind.values()[1:]


@pytest.mark.parametrize("kind", KIND_NUMBERS, ids=lambda kind: kind.__name__)
def test_a_message_says_what_its_row_says_and_nothing_else(kind):
    message = type(getattr(pb.Resource(), PUSHED[kind].wire)).DESCRIPTOR
    said = {field.name for field in fields(kind) if field.init} - {"revision"}  # that is in the envelope
    assert {field.name for field in message.fields} == said


@given(st.binary(max_size=200))
def test_whatever_can_be_parsed_is_understood_somehow(data):
    try:
        resource, record = pb.Resource.FromString(data), pb.UsageRecord.FromString(data)
    except Exception:
        return
    doubt(resource, row_from(resource), data)
    identity(resource, data)
    record_from(record)


def test_every_kind_of_resource_can_be_removed():
    for number in pb.ResourceKind.values()[1:]:
        assert ref_from(pb.ResourceRef(kind=number, id="x")) == (KINDS[number], "x")
    assert ref_from(pb.ResourceRef(id="x")) is None


def test_what_a_newer_control_plane_says_admits_nothing():
    key = row_from(pb.Resource.FromString(b"*\x08\n\x04vk_1\x18\x11"))
    provider = row_from(pb.Resource(provider=pb.Provider(id="prov_1", kind="oracle", enabled=True, unpriced="haggle")))
    assert isinstance(key, VirtualKey)
    assert key.state is KeyState.DISABLED
    assert isinstance(provider, Provider)
    assert not provider.enabled
    assert provider.unpriced is Unpriced.REFUSE
    budget = row_from(pb.Resource(budget=pb.Budget(id="bud_1", scope_kind="galaxy", window="day", enabled=True)))
    assert isinstance(budget, Budget)
    assert not budget.enabled
    assert row_from(pb.Resource(revision=3)) is None


def test_kinds_of_providers_are_the_words_of_the_wire():
    for kind in ProviderKind:
        row = row_from(pb.Resource(provider=pb.Provider(id="p", kind=str(kind), enabled=True)))
        assert isinstance(row, Provider)
        assert (row.kind, row.enabled) == (kind, True)


def test_a_pod_that_would_leave_an_account_header_out_is_told_that_it_must_not():
    plain, chosen = build.provider(), build.provider(account_headers=(("openai-project", "proj_1"),))
    assert list(resource_from(plain).needs) == []
    resource = resource_from(chosen)
    assert list(resource.needs) == ["account_headers"]
    assert doubt(resource, row_from(resource), b"") is None
    assert row_from(resource) == chosen

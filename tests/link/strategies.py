"""What hypothesis makes of the wire's nouns."""

from typing import Any

from hypothesis import strategies as st

from dataplane.core.money.messages import (
    AccountRef,
    AccountReport,
    AccountState,
    Ask,
    AskItem,
    AskKind,
    Deny,
    DenyReason,
    Grant,
    Granted,
    Hello,
    LiveHold,
    Recall,
    Report,
    ReportAck,
    Return,
    Welcome,
)
from dataplane.core.money.prices import ModelPrice, PriceList, RateCard, RateTier
from dataplane.core.money.windows import WindowKind
from dataplane.core.secret import Secret
from dataplane.core.snapshot import (
    Budget,
    KeySecret,
    KeyState,
    ModelAlias,
    OnBreach,
    Organization,
    OutageRule,
    Override,
    Principal,
    Project,
    Provider,
    ProviderKind,
    Row,
    ScopeKind,
    Unpriced,
    VirtualKey,
)
from dataplane.core.usage import (
    NO_USAGE,
    Outcome,
    RecordStatus,
    Usage,
    UsageClass,
    UsagePart,
    UsageRecord,
    UsageSource,
    Why,
)
from dataplane.core.waits import Wait

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
int64 = st.integers(-(2**63), 2**63 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
tuples_of_text = st.lists(texts, max_size=3).map(tuple)

secrets = st.builds(KeySecret, texts, int32, st.binary(max_size=32), int64)
units = st.dictionaries(st.sampled_from(UsageClass), int64, max_size=4)
cards = st.builds(
    RateCard,
    texts,
    texts,
    int64,
    int64,
    st.lists(st.builds(RateTier, int64, units), min_size=1, max_size=2).map(tuple),
)
model_prices = st.builds(
    ModelPrice,
    texts,
    texts,
    tuples_of_text,
    st.lists(cards, max_size=2).map(tuple),
    int64,
    st.booleans(),
    geo_percent=st.dictionaries(texts, int64, max_size=2),
)

by_kind: dict[type[Row], st.SearchStrategy[Any]] = {
    Organization: st.builds(Organization, texts, st.booleans(), int64, st.booleans(), texts, texts, int64),
    Project: st.builds(Project, texts, texts, texts, st.booleans(), int64),
    Principal: st.builds(Principal, texts, texts, st.booleans(), int64, tuples_of_text),
    ModelAlias: st.builds(ModelAlias, *[texts] * 7, int64),
    PriceList: st.builds(PriceList, texts, texts, st.lists(model_prices, max_size=2).map(tuple), int64),
    VirtualKey: st.builds(
        VirtualKey,
        id=texts,
        public_id=texts,
        state=st.sampled_from(KeyState),
        secrets=st.lists(secrets, max_size=2).map(tuple),
        expires_at_ms=int64,
        organization_id=texts,
        team_id=texts,
        project_id=texts,
        principal_id=texts,
        models_allowed=tuples_of_text,
        providers_allowed=tuples_of_text,
        tags=tuples_of_text,
        cut=st.booleans(),
        revision=int64,
    ),
    Provider: st.builds(
        Provider,
        id=texts,
        organization_id=texts,
        name=texts,
        kind=st.sampled_from(ProviderKind),
        base_url=texts,
        credential=st.binary(max_size=20).map(Secret),
        enabled=st.booleans(),
        priority=int32,
        models=tuples_of_text,
        api_version=texts,
        deployments=st.dictionaries(texts, texts, max_size=3).map(lambda some: tuple(sorted(some.items()))),
        unpriced=st.sampled_from(Unpriced),
        private_network=st.booleans(),
        price_provider=texts,
        waits=st.lists(st.builds(Wait, texts, st.integers(0, 3600), st.integers(0, 3600)), max_size=3).map(tuple),
        no_stream_options=st.booleans(),
        account_headers=st.dictionaries(texts, texts, max_size=3).map(lambda some: tuple(sorted(some.items()))),
        revision=int64,
    ),
    Budget: st.builds(
        Budget,
        id=texts,
        organization_id=texts,
        name=texts,
        scope_kind=st.sampled_from(ScopeKind),
        scope_id=texts,
        scope_name=texts,
        provider_id=texts,
        model_pattern=texts,
        window=st.sampled_from(WindowKind),
        timezone=texts,
        anchor=int32,
        resets=int32,
        limit_nano=int64,
        overrides=st.lists(st.builds(Override, int64, int64), max_size=2).map(tuple),
        on_breach=st.sampled_from(OnBreach),
        outage=st.sampled_from(OutageRule),
        overdraft_nano=int64,
        thresholds=st.lists(int32, max_size=3).map(tuple),
        contact=texts,
        enabled=st.booleans(),
        revision=int64,
    ),
}
rows = st.one_of(*by_kind.values())

_SPECIAL = {
    "attempt": int32,
    "http_status": int32,
    "status": st.sampled_from(RecordStatus),
    "outcome": st.sampled_from(Outcome),
    "tags": tuples_of_text,
    "accounts": st.lists(st.builds(AccountRef, texts, texts, texts), max_size=2).map(tuple),
    "kept_id": st.just(""),
    "goes_on": st.just(False),
    "seen": st.just(NO_USAGE),
    # What is outstanding is the pod's own affair.
    "usage": st.builds(
        Usage,
        units,
        st.sampled_from(UsageSource),
        texts,
        texts,
        texts,
        texts,
        st.sampled_from(Why),
        st.lists(st.builds(UsagePart, texts, units, texts, texts, texts), max_size=2).map(tuple),
        st.dictionaries(texts, int64, max_size=2),
        st.just(False),
    ),
}
records = st.builds(
    UsageRecord,
    **{
        name: _SPECIAL[name] if name in _SPECIAL else {"str": texts, "int": int64, "bool": st.booleans()}[str(kind)]
        for name, kind in UsageRecord.__annotations__.items()
    },
)


# ---- the Hold call --------------------------------------------------------------------------------------------

ids = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
amounts = st.integers(0, 1 << 60)
signed = st.integers(-(1 << 60), 1 << 60)
accounts = st.builds(AccountRef, ids, st.sampled_from(["", "prin_1"]), ids)
states = st.builds(AccountState, int64, int64, int64, int64)
granted = st.lists(st.builds(Granted, accounts, int64, int64, states), max_size=2).map(tuple)
reports = st.lists(
    st.builds(AccountReport, accounts, signed, amounts, amounts, signed, amounts, amounts), max_size=2
).map(tuple)
items = st.lists(
    st.builds(AskItem, accounts, amounts, signed, amounts), min_size=1, max_size=3, unique_by=lambda item: item.account
).map(tuple)
live = st.lists(st.builds(LiveHold, ids, st.integers(0, 9), amounts), max_size=2).map(tuple)

ups = st.one_of(
    st.builds(Hello, ids, reports),
    st.builds(Ask, st.integers(1, (1 << 62) - 1), st.sampled_from(AskKind), ids, st.integers(0, 1000), items),
    st.builds(Return, accounts, amounts),
    st.builds(Report, st.integers(0, (1 << 62) - 1), reports, live),
)
gone = st.lists(accounts, max_size=2).map(tuple)
downs = st.one_of(
    st.builds(Welcome, int64, int64, st.booleans(), granted, int32, int64, gone),
    st.builds(Grant, int64, granted),
    st.builds(Deny, int64, st.sampled_from(DenyReason), accounts, states, int64),
    st.builds(Recall, st.lists(accounts, max_size=3).map(tuple)),
    st.builds(ReportAck, int64, granted, int32, gone),
)

"""What hypothesis makes of the wire's nouns."""

from hypothesis import strategies as st

from dataplane.core.money.messages import AccountRef
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
    ScopeKind,
    Unpriced,
    VirtualKey,
)
from dataplane.core.usage import Outcome, RecordStatus, Usage, UsageClass, UsageRecord, UsageSource

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
int64 = st.integers(-(2**63), 2**63 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
tuples_of_text = st.lists(texts, max_size=3).map(tuple)

secrets = st.builds(KeySecret, texts, int32, st.binary(max_size=32), int64)
units = st.dictionaries(st.sampled_from(UsageClass), int64, max_size=4)
cards = st.builds(
    RateCard, texts, texts, int64, int64, st.lists(st.builds(RateTier, int64, units), min_size=1, max_size=2).map(tuple)
)
model_prices = st.builds(
    ModelPrice, texts, texts, tuples_of_text, st.lists(cards, max_size=2).map(tuple), int64, st.booleans()
)

rows = st.one_of(
    st.builds(Organization, texts, st.booleans(), int64, st.booleans(), texts, texts, int64),
    st.builds(Project, texts, texts, texts, st.booleans(), int64),
    st.builds(Principal, texts, texts, st.booleans(), int64, tuples_of_text),
    st.builds(ModelAlias, *[texts] * 7, int64),
    st.builds(PriceList, texts, texts, st.lists(model_prices, max_size=2).map(tuple), int64),
    st.builds(
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
    st.builds(
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
        revision=int64,
    ),
    st.builds(
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
)

_SPECIAL = {
    "attempt": int32,
    "http_status": int32,
    "status": st.sampled_from(RecordStatus),
    "outcome": st.sampled_from(Outcome),
    "tags": tuples_of_text,
    "accounts": st.lists(st.builds(AccountRef, texts, texts, texts), max_size=2).map(tuple),
    "usage": st.builds(Usage, units, st.sampled_from(UsageSource), texts, texts, texts, texts),
}
records = st.builds(
    UsageRecord,
    **{
        name: _SPECIAL[name] if name in _SPECIAL else {"str": texts, "int": int64, "bool": st.booleans()}[str(kind)]
        for name, kind in UsageRecord.__annotations__.items()
    },
)

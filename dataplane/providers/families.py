"""The names of a client's header fields that no provider gets, by what they say.

Names are judged as the least careful reader of HTTP spells them: CGI, WSGI and what imitates them make one name of
`X-Api-Key`, `X_Api_Key` and `X.Api.Key`.
"""

from __future__ import annotations

import re
from typing import Final

HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection te trailer trailers transfer-encoding upgrade http2-settings "
    b"max-forwards".split()
)
CREDENTIALS: Final = frozenset(
    b"authorization proxy-authorization x-api-key api-key x-goog-api-key cookie cookie2 set-cookie "
    b"x-goog-iam-authorization-token authentication".split()
)
# As gateways, clouds and servers name theirs. An `Idempotency-Key` is none.
_CREDENTIAL_NAMES: Final = re.compile(
    rb"api-?key|authorization|cookie|secret|credential"
    rb"|(?:^|-)(?:auth|jwt|token|password|access-key|auth-key|subscription-key|functions-key|iam-token)$"
    rb"|-jwt-assertion$|^x-amz-(?:security-token|date|content-sha256|signature)"
)
# Written anew for the provider.
_OURS: Final = frozenset(b"host content-length accept-encoding expect".split())
# What a reader would take instead of the request line.
_OVERRIDES: Final = re.compile(
    rb"x-(?:http-)?method(?:-override)?|x-original-(?:method|uri|url|host|path|prefix)|x-rewrite-url|x-override-url"
    rb"|x-http-(?:host|path|url|destinationurl)(?:-override)?|x-host(?:-override)?|x-base-url|destination|alt-used"
)
# Which account of the provider's is meant: the provider's row says it (`Provider.account_headers`).
ACCOUNTS: Final = frozenset(
    b"openai-organization openai-project x-goog-user-project x-goog-quota-user "
    b"anthropic-workspace-id anthropic-organization-id anthropic-organization anthropic-workspace anthropic-account-id "
    b"chatgpt-account-id openai-account openai-account-id openai-workspace openai-workspace-id "
    b"azureml-model-deployment azureml-model-group x-ms-oai-image-generation-deployment x-ms-subscription-id "
    b"x-ms-workspace-id x-ms-tenant-id x-ms-client-tenant-id x-amz-account-id x-databricks-org-id "
    b"x-organization-id x-org-id x-project-id x-workspace-id x-account-id x-tenant-id".split()
)
# Who the client is and which way it came, by whoever stands between: CDNs, clouds, balancers, meshes, login proxies,
# and browsers, which say it themselves. Traces of those as well.
_BYSTANDERS: Final = frozenset(
    b"forwarded forwarded-for via x-via x-real-ip client-ip x-client-ip x-cluster-client-ip x-originating-ip "
    b"x-remote-ip x-remote-addr x-source-ip x-user-ip x-ip x-peer-ip x-true-ip x-proxyuser-ip x-bluecoat-via "
    b"x-client-port x-client-cert x-client-certificate x-client-verify x-client-dn x-client-country x-client-geo- "
    b"location x-client-region x-client-city x-client-host x-client-user x-country x-country-code x-geoip-country "
    b"client-cert client-cert-chain client-verify client-dn remote-addr remote-host remote-user x-remote-user "
    b"x-remote-groups x-user x-user-name x-user-email x-email x-username x-authenticated-user x-authenticated-userid "
    b"x-webauth-user cdn-loop cdn-requestid x-cdn x-edge-location x-cache-hash x-scheme x-url-scheme x-proto front- "
    b"end-https x-request-start x-queue-start x-varnish disguised-host was-default-hostname x-site-deployment-id "
    b"x-waws-unencoded-url origin referer from dnt sec-gpc save-data x-wap-profile x-up-calling-line-id x-msisdn "
    b"traceparent tracestate baggage b3 uber-trace-id x-cloud-trace-context grpc-trace-bin sentry-trace x-ot-span- "
    b"context newrelic elastic-apm-traceparent x-instana-t x-instana-s x-instana-l".split()
)
_FAMILIES: Final = (
    *(b"x-langwatch-", b"proxy-", b"x-proxy-"),
    *(b"x-forwarded", b"x-original-forwarded-", b"x-original-client-", b"x-original-remote-", b"z-forwarded-"),
    *(b"cf-", b"x-cf-", b"true-client-", b"fastly-", b"x-fastly-", b"akamai-", b"x-akamai-", b"x-sucuri-", b"incap-"),
    *(b"x-incap-", b"x-imperva-", b"ali-", b"x-ali-", b"eagleeye-", b"x-edgeconnect-", b"x-stackpath-", b"x-bunny-"),
    *(b"x-amzn-", b"x-amz-cf-", b"cloudfront-", b"x-cloudfront-", b"x-azure-", b"x-fd-", b"x-arr-", b"x-appgw-"),
    *(b"x-ms-client-principal", b"x-ms-token-", b"x-ms-original-", b"x-ms-forwarded-", b"x-ms-proxy-"),
    *(b"x-appengine-", b"x-google-apps-", b"x-goog-iap-", b"x-goog-authenticated-user-", b"x-google-"),
    *(b"x-vercel-", b"x-now-", b"x-matched-path", b"fly-", b"x-nf-", b"x-railway-", b"x-render-", b"x-heroku-", b"do-"),
    *(b"x-envoy-", b"x-istio-", b"l5d-", b"x-linkerd-", b"x-kong-", b"x-consumer-", b"x-nginx-", b"x-haproxy-"),
    *(b"x-traefik-", b"ssl-", b"x-ssl-", b"x-tls-", b"tls-", b"x-mtls-", b"x-client-cert-", b"x-client-ssl-"),
    *(b"ssl-client-", b"x-auth-request-", b"x-authentik-", b"x-pomerium-", b"tailscale-", b"x-remote-", b"remote-"),
    *(b"x-teleport-", b"x-zscaler-", b"x-okta-", b"oidc-", b"x-oidc-", b"x-shib-", b"shib-", b"mellon-", b"saml-"),
    *(
        b"sec-fetch-",
        b"sec-ch-",
        b"sec-websocket-",
        b"sec-purpose",
        b"access-control-",
        b"x-geo",
        b"geoip-",
        b"x-client-geo",
    ),
    *(b"x-b3-", b"x-datadog-", b"x-dynatrace", b"x-newrelic-", b"x-instana-", b"x-amz-apigw-"),
)
# What a body is, by one spelling only: the other would make two of them for a reader that does not tell them apart.
_OF_THE_BODY: Final = frozenset(
    b"content-type content-encoding content-md5 content-range digest content-digest".split()
)
_ODD: Final = re.compile(rb"[^a-z0-9-]")


def folded(name: bytes) -> bytes:
    """A lower-case name as those read it who tell neither `_` nor `.` from `-`."""
    return _ODD.sub(b"-", name)


def stays_here(name: bytes) -> bool:
    """Whether no provider gets a client's field of this name, in lower case."""
    plain = folded(name)
    return (
        plain in HOP_BY_HOP
        or plain in _OURS
        or is_credential(plain)
        or plain in ACCOUNTS
        or plain in _BYSTANDERS
        or plain.startswith(_FAMILIES)
        or _OVERRIDES.fullmatch(plain) is not None
        or (plain != name and plain in _OF_THE_BODY)
    )


def is_credential(name: bytes) -> bool:
    return name in CREDENTIALS or _CREDENTIAL_NAMES.search(name) is not None

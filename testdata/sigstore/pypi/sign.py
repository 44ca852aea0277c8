"""Makes bundles for a manifest with PyPI sigstore, against a loopback stand-in for Fulcio, Rekor and a TSA.

usage: sign.py URL TRUSTED_ROOT MANIFEST REKOR_VERSION OUTPUT
"""
import hashlib
import json
import sys
import time
from datetime import datetime, timedelta, timezone

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from sigstore.dsse import StatementBuilder, Subject
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext

url, root, manifest, version, output = sys.argv[1:]
start = (datetime.now(timezone.utc) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def service(path, version):
    return [{"url": url + path, "majorApiVersion": version, "validFor": {"start": start}, "operator": "stand-in"}]


config = {
    "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
    "trustedRoot": json.load(open(root)),
    "signingConfig": {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": service("", 1),
        "oidcUrls": service("", 1),
        "rekorTlogUrls": service("", int(version)),
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": service("/api/v1/timestamp", 1) if version == "2" else [],
        "tsaConfig": {"selector": "ANY"},
    },
}
now = int(time.time())
claims = {"iss": "https://issuer.securecp.test", "aud": "sigstore", "iat": now, "exp": now + 300, "sub": "subject"}
claims |= {"email": "release@securecp.test", "email_verified": True}
token = IdentityToken(jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"))
digest = hashlib.sha256(open(manifest, "rb").read()).hexdigest()
statement = StatementBuilder().subjects([Subject(name="", digest={"sha256": digest})])
statement = statement.predicate_type("https://sigstore.dev/cosign/sign/v1").predicate({}).build()
context = SigningContext.from_trust_config(ClientTrustConfig.from_json(json.dumps(config)))
with context.signer(token) as signer:
    open(output, "w").write(signer.sign_dsse(statement).to_json())
